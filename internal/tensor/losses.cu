// Means over tensors, and the losses of a group of layers (losses.hpp): B images of N tokens with C channels, of which
// the last P tokens are patches. A row is one of [B, P].

// The elements from i on of four members from at on; zeros beyond the last member.
__device__ void members_at(const Members &m, unsigned at, unsigned i, float4 *x) {
#pragma unroll
  for (unsigned j = 0; j < 4; j++) {
    x[j] = {0, 0, 0, 0};
    if (at + j < m.count)
      x[j] = *(const float4 *)(m.of[at + j] + i);
  }
}
__device__ void add(float4 *sum, float4 x) {
  sum->x += x.x;
  sum->y += x.y;
  sum->z += x.z;
  sum->w += x.w;
}
__device__ float4 times(float4 x, float by) { return {x.x * by, x.y * by, x.z * by, x.w * by}; }
__device__ float dot(float4 x, float4 y) { return x.x * y.x + x.y * y.y + (x.z * y.z + x.w * y.w); }

// A thread for each four of the 4·count elements of the means.
extern "C" __global__ void means(const __grid_constant__ Members m, const __grid_constant__ Means out, unsigned count) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count)
    return;
  float4 sums[4] = {};
  for (unsigned at = 0; at < m.count; at += 4) {
    float4 x[4];
    members_at(m, at, 4 * i, x);
#pragma unroll
    for (unsigned j = 0; j < 4; j++) {
      unsigned in = at + j < m.count ? m.means[at + j] : 0;
#pragma unroll
      for (unsigned k = 0; k < 4; k++) {
        if (in >> k & 1)
          add(&sums[k], x[j]);
      }
    }
  }
#pragma unroll
  for (unsigned k = 0; k < 4; k++) {
    if (out.to[k])
      *(float4 *)(out.to[k] + 4 * i) = times(sums[k], out.share[k]);
  }
}

__device__ float norm(float square) { return fmaxf(sqrtf(square), 1e-8f); }

// A warp a row: y is the mean of the members. products [4, B, P] are x·y, x·x, y·y with the target x, and 1 - cos.
extern "C" __global__ void group_products(const __grid_constant__ Members m, const float *x, float *y, float *products,
                                          Group g, float share) {
  unsigned row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  unsigned rows = g.images * g.patches;
  if (row >= rows)
    return;
  unsigned image = row / g.patches;
  unsigned patch = row % g.patches;
  x += image * g.stride + patch * g.c;
  unsigned from = ((image + 1) * g.tokens - g.patches + patch) * g.c;
  float xy = 0;
  float xx = 0;
  float yy = 0;
  for (unsigned i = threadIdx.x % 32 * 4; i < g.c; i += 128) {
    float4 a = *(const float4 *)(x + i);
    float4 b = {};
    for (unsigned at = 0; at < m.count; at += 4) {
      float4 some[4];
      members_at(m, at, from + i, some);
#pragma unroll
      for (unsigned j = 0; j < 4; j++)
        add(&b, some[j]);
    }
    b = times(b, share);
    *(float4 *)(y + row * g.c + i) = b;
    xy += dot(a, b);
    xx += dot(a, a);
    yy += dot(b, b);
  }
  xy = warp_sum(xy);
  xx = warp_sum(xx);
  yy = warp_sum(yy);
  if (threadIdx.x % 32)
    return;
  products[row] = xy;
  products[rows + row] = xx;
  products[2 * rows + row] = yy;
  products[3 * rows + row] = 1 - xy / (norm(xx) * norm(yy));
}

// An unsigned integer in the order of x.
__device__ unsigned order(float x) {
  unsigned bits = __float_as_uint(x);
  return bits >> 31 ? ~bits : bits | 1u << 31;
}

// One block: of n values the one that k others precede in ascending order.
extern "C" __global__ void ranked(const float *x, unsigned n, unsigned k, float *out) {
  unsigned found = 0;
  for (int bit = 31; bit >= 0; bit--) {
    unsigned next = found | 1u << bit;
    unsigned less = 0;
    for (unsigned from = 0; from < n; from += blockDim.x) {
      unsigned i = from + threadIdx.x;
      less += block_count(i < n && order(x[i]) < next);
    }
    if (less <= k)
      found = next;
  }
  if (threadIdx.x == 0)
    *out = __uint_as_float(found >> 31 ? found ^ 1u << 31 : ~found);
}

// The weight of a patch at distance c, (min(c, tau)/tau)².
__device__ float focus(float c, float tau) {
  float of = fminf(c, tau) / tau;
  return tau <= 0 ? 1 : of * of;
}

// A block an image: sums over its patches [B, 4], of the products and of the weighted distances.
extern "C" __global__ void group_images(const float *products, const float *tau, float *sums, Group g) {
  unsigned rows = g.images * g.patches;
  const float *of = products + blockIdx.x * g.patches;
  float all[4] = {};
  for (unsigned i = threadIdx.x; i < g.patches; i += blockDim.x) {
    for (unsigned j = 0; j < 3; j++)
      all[j] += of[j * rows + i];
    float c = of[3 * rows + i];
    all[3] += c * focus(c, *tau);
  }
  for (unsigned j = 0; j < 4; j++) {
    float total = block_total(all[j]);
    if (threadIdx.x == 0)
      sums[4 * blockIdx.x + j] = total;
  }
}

// One warp: both losses from what group_images gave.
extern "C" __global__ void group_losses(const float *sums, float *global, float *regional, Group g) {
  float all = 0;
  float patches = 0;
  for (unsigned i = threadIdx.x; i < g.images; i += 32) {
    const float *of = sums + 4 * i;
    all += 1 - of[0] / (norm(of[1]) * norm(of[2]));
    patches += of[3];
  }
  all = warp_sum(all);
  patches = warp_sum(patches);
  if (threadIdx.x)
    return;
  *global = all / g.all;
  *regional = patches / (g.all * g.patches);
}

// The gradient of g·(1 - cos) with respect to y, as the factors of x and y. As in LibTorch, it passes through the norm
// where that is below its least value.
__device__ void distance_backward(float g, float xy, float xx, float yy, float *of_x, float *of_y) {
  float by = g / (norm(xx) * norm(yy));
  *of_x -= by;
  if (yy > 0)
    *of_y += by * xy / (norm(yy) * sqrtf(yy));
}

// A warp a token [B, N]: the gradient of a member, which is share times that of y; easy multiplies it where the
// distance is below tau. of_global and of_regional are NULL for a loss without gradient.
extern "C" __global__ void group_backward(const float *x, const float *y, const float *products, const float *sums,
                                          const float *tau, const float *of_global, const float *of_regional,
                                          float *out, Group g, float share, float easy) {
  unsigned token = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (token >= g.images * g.tokens)
    return;
  unsigned image = token / g.tokens;
  unsigned at = token % g.tokens;
  unsigned prefix = g.tokens - g.patches;
  out += token * g.c;
  if (at < prefix) {
    for (unsigned i = threadIdx.x % 32 * 4; i < g.c; i += 128)
      *(float4 *)(out + i) = {0, 0, 0, 0};
    return;
  }
  at -= prefix;
  unsigned rows = g.images * g.patches;
  unsigned row = image * g.patches + at;
  const float *of = products + row;
  float c = of[3 * rows];
  float a = 0;
  float b = 0;
  if (of_regional)
    distance_backward(*of_regional / (g.all * g.patches) * focus(c, *tau), of[0], of[rows], of[2 * rows], &a, &b);
  if (of_global)
    distance_backward(*of_global / g.all, sums[4 * image], sums[4 * image + 1], sums[4 * image + 2], &a, &b);
  float by = c < *tau ? share * easy : share;
  x += image * g.stride + at * g.c;
  y += row * g.c;
  for (unsigned i = threadIdx.x % 32 * 4; i < g.c; i += 128) {
    float4 sum = times(*(const float4 *)(x + i), a * by);
    add(&sum, times(*(const float4 *)(y + i), b * by));
    *(float4 *)(out + i) = sum;
  }
}
