// Sums over the columns of a matrix, in two stages so that their order is fixed: blocks leave partial sums [parts,
// columns], and sum_rows adds those.

__device__ uint4 load8(const unsigned short *p) { return *(const uint4 *)p; }
// Eight elements of bfloat16 in four words.
__device__ void unpack(uint4 words, float *x) {
  x[0] = first_of(words.x), x[1] = second_of(words.x), x[2] = first_of(words.y), x[3] = second_of(words.y);
  x[4] = first_of(words.z), x[5] = second_of(words.z), x[6] = first_of(words.w), x[7] = second_of(words.w);
}

// out [columns] = x [rows, columns] summed over rows: a block of 1024 threads for 32 columns.
extern "C" __global__ void __launch_bounds__(1024)
    sum_rows(const float *x, float *out, unsigned rows, unsigned columns) {
  __shared__ float part[32][32];
  unsigned lane = threadIdx.x % 32;
  unsigned warp = threadIdx.x / 32;
  unsigned c = blockIdx.x * 32 + lane;
  float sum = 0;
  if (c < columns)
    for (unsigned r = warp; r < rows; r += 32)
      sum += x[r * columns + c];
  part[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || c >= columns)
    return;
  sum = 0;
#pragma unroll
  for (int w = 0; w < 32; w++)
    sum += part[w][lane];
  out[c] = sum;
}

// Writes what the eight warps of a block have summed, eight columns a thread, to row blockIdx.y of parts [gridDim.y,
// columns].
__device__ void store_parts(const float *sum, float *parts, unsigned columns) {
  __shared__ float part[8][256];
  for (int i = 0; i < 8; i++)
    part[threadIdx.x / 32][threadIdx.x % 32 * 8 + i] = sum[i];
  __syncthreads();
  unsigned c = blockIdx.x * 256 + threadIdx.x;
  if (c >= columns)
    return;
  float total = 0;
  for (int w = 0; w < 8; w++)
    total += part[w][threadIdx.x];
  parts[blockIdx.y * columns + c] = total;
}

// Partial sums of x [rows, columns]: blocks of 256 threads, [columns / 256, parts]. columns is a multiple of 8.
extern "C" __global__ void __launch_bounds__(256)
    column_parts(const unsigned short *x, float *parts, unsigned rows, unsigned columns) {
  unsigned at = blockIdx.x * 256 + threadIdx.x % 32 * 8;
  unsigned step = gridDim.y * 8;
  float sum[8] = {};
  if (at < columns)
    for (unsigned r = blockIdx.y * 8 + threadIdx.x / 32; r < rows; r += 4 * step) {
      uint4 words[4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        uint4 none = {};
        words[i] = r + i * step < rows ? load8(x + (r + i * step) * columns + at) : none;
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float of[8];
        unpack(words[i], of);
#pragma unroll
        for (int j = 0; j < 8; j++)
          sum[j] += of[j];
      }
    }
  store_parts(sum, parts, columns);
}

// The derivative of x·Φ(x), which is Φ(x) + x·φ(x). erf is formula 7.1.26 of Abramowitz and Stegun, off by 1.5e-7 at
// most; its exponential is also φ's.
__device__ float gelu_slope(float x) {
  float z = fabsf(x) * 0.70710678f;
  float t = __fdividef(1, 1 + 0.3275911f * z);
  float e = expf(-z * z);
  float tail =
      t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) * e * 0.5f;
  return (x < 0 ? tail : 1 - tail) + x * e * 0.39894228f;
}

// out = g·gelu'(x), all [rows, columns], and its partial sums; as column_parts.
extern "C" __global__ void __launch_bounds__(256)
    gelu_backward_parts(const unsigned short *g, const unsigned short *x, unsigned short *out, float *parts,
                        unsigned rows, unsigned columns) {
  unsigned at = blockIdx.x * 256 + threadIdx.x % 32 * 8;
  unsigned step = gridDim.y * 8;
  float sum[8] = {};
  if (at < columns)
    for (unsigned r = blockIdx.y * 8 + threadIdx.x / 32; r < rows; r += 2 * step) {
      uint4 up[2];
      uint4 in[2];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        uint4 none = {};
        bool inside = r + i * step < rows;
        up[i] = inside ? load8(g + (r + i * step) * columns + at) : none;
        in[i] = inside ? load8(x + (r + i * step) * columns + at) : none;
      }
#pragma unroll
      for (int i = 0; i < 2; i++) {
        float grad[8];
        float of[8];
        unpack(up[i], grad);
        unpack(in[i], of);
#pragma unroll
        for (int j = 0; j < 8; j++) {
          grad[j] *= gelu_slope(of[j]);
          sum[j] += grad[j];
        }
        uint4 words = {pack(grad[0], grad[1]), pack(grad[2], grad[3]), pack(grad[4], grad[5]), pack(grad[6], grad[7])};
        if (r + i * step < rows)
          *(uint4 *)(out + (r + i * step) * columns + at) = words;
      }
    }
  store_parts(sum, parts, columns);
}
