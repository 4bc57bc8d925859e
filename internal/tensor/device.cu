// What the kernels ask of the device itself. For tests without a GPU, third_party/cuda_stub/threads.h has its own.

// Two values as bfloat16, rounded to nearest even; the first in the lower half.
__device__ unsigned pack(float first, float second) {
#if __CUDA_ARCH__ >= 800
  unsigned two;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(second), "f"(first));
  return two;
#else
  unsigned bits[2] = {__float_as_uint(first), __float_as_uint(second)};
  float x[2] = {first, second};
  for (int i = 0; i < 2; i++)
    bits[i] = x[i] != x[i] ? 0x7fff : (bits[i] + 0x7fff + (bits[i] >> 16 & 1)) >> 16;
  return bits[0] | bits[1] << 16;
#endif
}
// The x of the thread of the warp whose index differs in the bits of mask.
__device__ float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffff, x, mask); }
// Waits for all threads of the block; returns how many of them say yes.
__device__ int block_count(bool yes) { return __syncthreads_count(yes); }
