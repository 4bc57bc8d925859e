// A residual stream and LayerNorm over its last dimension (norm.hpp). C, the number of columns, is a multiple of 128
// and at most 1536.

__device__ void unpack(uint2 words, float *x) {
  x[0] = first_of(words.x), x[1] = second_of(words.x), x[2] = first_of(words.y), x[3] = second_of(words.y);
}

// sum = x + y + bias, and sum normalised; a warp a row [C], blocks of 128 threads. y is NULL where sum is x, which is
// not written then; at most one of the two biases is not NULL.
extern "C" __global__ void __launch_bounds__(128, 5)
    add_norm(const float *x, const unsigned short *y, const float *bias, const unsigned short *bias16,
             const float *gamma, const float *beta, float *sum, unsigned short *normed, float *means, float *rstds,
             float eps, unsigned rows, unsigned c) {
  unsigned row = blockIdx.x * 4 + threadIdx.x / 32;
  unsigned lane = threadIdx.x % 32 * 4;
  if (row >= rows)
    return;
  unsigned at = row * c + lane;
  float v[12][4];
  float total = 0;
#pragma unroll
  for (unsigned i = 0; i < 12; i++) {
    float4 none = {};
    float4 of = i * 128 < c ? *(const float4 *)(x + at + i * 128) : none;
    v[i][0] = of.x, v[i][1] = of.y, v[i][2] = of.z, v[i][3] = of.w;
  }
  if (y) {
    uint2 words[12];
#pragma unroll
    for (unsigned i = 0; i < 12; i++) {
      uint2 none = {};
      words[i] = i * 128 < c ? *(const uint2 *)(y + at + i * 128) : none;
    }
#pragma unroll
    for (unsigned i = 0; i < 12; i++)
      if (i * 128 < c) {
        float of[4];
        unpack(words[i], of);
#pragma unroll
        for (int j = 0; j < 4; j++) {
          unsigned column = i * 128 + lane + j;
          v[i][j] += of[j] + (bias ? bias[column] : bias16 ? load(bias16 + column) : 0);
        }
        float4 to = {v[i][0], v[i][1], v[i][2], v[i][3]};
        *(float4 *)(sum + at + i * 128) = to;
      }
  }
#pragma unroll
  for (unsigned i = 0; i < 12; i++)
    total += v[i][0] + v[i][1] + v[i][2] + v[i][3];
  float mean = warp_sum(total) / c;
  total = 0;
#pragma unroll
  for (unsigned i = 0; i < 12; i++)
    if (i * 128 < c)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        v[i][j] -= mean;
        total += v[i][j] * v[i][j];
      }
  float rstd = rsqrtf(warp_sum(total) / c + eps);
  if (lane == 0)
    means[row] = mean, rstds[row] = rstd;
#pragma unroll
  for (unsigned i = 0; i < 12; i++)
    if (i * 128 < c) {
      float4 by = *(const float4 *)(gamma + i * 128 + lane);
      float4 b = *(const float4 *)(beta + i * 128 + lane);
      uint2 words = {pack(v[i][0] * rstd * by.x + b.x, v[i][1] * rstd * by.y + b.y),
                     pack(v[i][2] * rstd * by.z + b.z, v[i][3] * rstd * by.w + b.w)};
      *(uint2 *)(normed + at + i * 128) = words;
    }
}

// The gradient of sum from g, that of the normalised sum, and g_sum where it is not NULL: in float, and in bfloat16
// where gx16 is not NULL. parts [gridDim.x, 3, C] are partial sums of the gradients of gamma, beta and bias. A block of
// C/4 threads takes two rows at a time.
extern "C" __global__ void __launch_bounds__(384, 2)
    norm_backward(const unsigned short *g, const float *g_sum, const float *sum, const float *means, const float *rstds,
                  const float *gamma, float *gx, unsigned short *gx16, float *parts, unsigned rows) {
  __shared__ float4 shared[2][12]; // by turns: while some read one, others write the next
  unsigned c = blockDim.x * 4;
  unsigned column = threadIdx.x * 4;
  float4 gammas = *(const float4 *)(gamma + column);
  float by[4] = {gammas.x, gammas.y, gammas.z, gammas.w};
  float to_gamma[4] = {};
  float to_beta[4] = {};
  float to_bias[4] = {};
  int turn = 0;
  for (unsigned first = blockIdx.x * 2; first < rows; first += gridDim.x * 2) {
    float grad[2][4];
    float hat[2][4];
    float4 more[2];
    float rstd[2];
    float dots[4] = {};
#pragma unroll
    for (unsigned i = 0; i < 2; i++) {
      bool inside = first + i < rows;
      unsigned at = (first + i) * c + column;
      float4 none = {};
      uint2 no_words = {};
      float4 x = inside ? *(const float4 *)(sum + at) : none;
      more[i] = inside && g_sum ? *(const float4 *)(g_sum + at) : none;
      unpack(inside ? *(const uint2 *)(g + at) : no_words, grad[i]);
      float mean = inside ? means[first + i] : 0;
      rstd[i] = inside ? rstds[first + i] : 0;
      hat[i][0] = (x.x - mean) * rstd[i], hat[i][1] = (x.y - mean) * rstd[i];
      hat[i][2] = (x.z - mean) * rstd[i], hat[i][3] = (x.w - mean) * rstd[i];
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) {
        to_gamma[j] += grad[i][j] * hat[i][j];
        to_beta[j] += grad[i][j];
        grad[i][j] *= by[j];
        dots[i] += grad[i][j];
        dots[2 + i] += grad[i][j] * hat[i][j];
      }
    float4 mine = {warp_sum(dots[0]), warp_sum(dots[1]), warp_sum(dots[2]), warp_sum(dots[3])};
    if (threadIdx.x % 32 == 0)
      shared[turn][threadIdx.x / 32] = mine;
    __syncthreads();
    float4 all = {};
    for (unsigned w = 0; w < blockDim.x / 32; w++) {
      float4 of = shared[turn][w];
      all.x += of.x, all.y += of.y, all.z += of.z, all.w += of.w;
    }
    turn = 1 - turn;
    float shift[2] = {all.x / c, all.y / c};
    float slope[2] = {all.z / c, all.w / c};
#pragma unroll
    for (unsigned i = 0; i < 2; i++) {
      if (first + i >= rows)
        break;
      float out[4] = {more[i].x, more[i].y, more[i].z, more[i].w};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        out[j] += rstd[i] * (grad[i][j] - shift[i] - hat[i][j] * slope[i]);
        to_bias[j] += out[j];
      }
      unsigned at = (first + i) * c + column;
      float4 to = {out[0], out[1], out[2], out[3]};
      *(float4 *)(gx + at) = to;
      uint2 words = {pack(out[0], out[1]), pack(out[2], out[3])};
      if (gx16)
        *(uint2 *)(gx16 + at) = words;
    }
  }
  float4 *to = (float4 *)(parts + blockIdx.x * 3 * c + column);
  float4 gammas_sum = {to_gamma[0], to_gamma[1], to_gamma[2], to_gamma[3]};
  float4 betas_sum = {to_beta[0], to_beta[1], to_beta[2], to_beta[3]};
  float4 biases_sum = {to_bias[0], to_bias[1], to_bias[2], to_bias[3]};
  to[0] = gammas_sum;
  to[c / 4] = betas_sum;
  to[c / 2] = biases_sum;
}
