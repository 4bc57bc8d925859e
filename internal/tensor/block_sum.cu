// Sums over the threads of a block.

// The sum of x over the block, of up to 32 whole warps, in each of its threads.
__device__ float block_total(float x) {
  __shared__ float parts[32];
  x = warp_sum(x);
  __syncthreads(); // the parts of an earlier sum have been read
  if (threadIdx.x % 32 == 0)
    parts[threadIdx.x / 32] = x;
  __syncthreads();
  x = 0;
  for (unsigned i = 0; i < blockDim.x / 32; i++)
    x += parts[i];
  return x;
}
