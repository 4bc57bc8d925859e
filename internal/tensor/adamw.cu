// StableAdamW on CUDA (adamw.hpp has the same loops for the CPU), over a table of parameters in each launch. A block
// works on 4096 elements of one parameter. It leaves one sum in partial; these are added in the order of the blocks.

// The parameter of a block, the first block of that parameter, and the block's elements: by four from at to whole, one
// by one from there to end.
struct Part {
  unsigned of;
  unsigned first;
  unsigned at;
  unsigned whole;
  unsigned end;
};
__device__ Part part_of(const Parameters &all) {
  unsigned low = 0;
  unsigned high = all.count;
  while (high - low > 1) {
    unsigned middle = (low + high) / 2;
    if (all.of[middle].first <= blockIdx.x)
      low = middle;
    else
      high = middle;
  }
  Part b;
  b.of = low;
  b.first = all.of[low].first;
  b.at = (blockIdx.x - b.first) * 4096;
  b.end = all.of[low].n - b.at < 4096 ? all.of[low].n : b.at + 4096;
  unsigned long long bits = 0;
  bits |= (unsigned long long)all.of[low].g | (unsigned long long)all.of[low].p | (unsigned long long)all.of[low].m;
  bits |= (unsigned long long)all.of[low].v | (unsigned long long)all.of[low].vmax;
  b.whole = bits % 16 ? b.at : b.end - (b.end - b.at) % 4;
  return b;
}
__device__ float4 *four(float *p, unsigned i) { return (float4 *)(p + i); }

// partial is the sums of the squares of the gradients.
extern "C" __global__ void adamw_squares(const __grid_constant__ Parameters all, float *partial) {
  Part b = part_of(all);
  const float *pg = all.of[b.of].g;
  float sum = 0;
  for (unsigned i = b.at + 4 * threadIdx.x; i < b.whole; i += 4 * blockDim.x) {
    float4 g = *(const float4 *)(pg + i);
    sum += g.x * g.x + g.y * g.y + (g.z * g.z + g.w * g.w);
  }
  for (unsigned i = b.whole + threadIdx.x; i < b.end; i += blockDim.x)
    sum += pg[i] * pg[i];
  sum = block_total(sum);
  if (threadIdx.x == 0)
    partial[blockIdx.x] = sum;
}

__device__ bool is_finite(float x) { return x - x == 0; }

// One block: the norm of all gradients from their n sums of squares, and the factor that clips it; -1 where norm or
// loss is not finite, and then the kernels below change nothing.
extern "C" __global__ void adamw_clip(const float *partial, unsigned n, const float *loss, float clip, float *norm,
                                      float *scale) {
  float sum = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x)
    sum += partial[i];
  sum = sqrtf(block_total(sum));
  float by = clip / (sum + 1e-6f);
  if (threadIdx.x == 0) {
    *norm = sum;
    *scale = is_finite(sum) && is_finite(*loss) ? (by > 1 ? 1 : by) : -1;
  }
}

// Updates the moments of an element with the gradient g; returns (g/d)².
__device__ float moment(float g, float *m, float *v, float *vmax, float bias2, Betas c) {
  *m = c.b1 * *m + c.one_minus_b1 * g;
  *v = c.b2 * *v + c.one_minus_b2 * g * g;
  *vmax = *vmax < *v ? *v : *vmax;
  float r = g / (sqrtf(*vmax) / bias2 + c.eps);
  return r * r;
}

// partial is the sums of (g/d)².
extern "C" __global__ void adamw_moments(const __grid_constant__ Parameters all, const float *rates, const float *scale,
                                         float *partial, Betas c) {
  Part b = part_of(all);
  const float *pg = all.of[b.of].g;
  float *pm = all.of[b.of].m;
  float *pv = all.of[b.of].v;
  float *px = all.of[b.of].vmax;
  float by = *scale;
  if (by < 0)
    return;
  float bias2 = rates[2];
  float sum = 0;
  for (unsigned i = b.at + 4 * threadIdx.x; i < b.whole; i += 4 * blockDim.x) {
    float4 g = *(const float4 *)(pg + i);
    float4 m = *four(pm, i);
    float4 v = *four(pv, i);
    float4 x = *four(px, i);
    sum += moment(g.x * by, &m.x, &v.x, &x.x, bias2, c) + moment(g.y * by, &m.y, &v.y, &x.y, bias2, c);
    sum += moment(g.z * by, &m.z, &v.z, &x.z, bias2, c) + moment(g.w * by, &m.w, &v.w, &x.w, bias2, c);
    *four(pm, i) = m;
    *four(pv, i) = v;
    *four(px, i) = x;
  }
  for (unsigned i = b.whole + threadIdx.x; i < b.end; i += blockDim.x)
    sum += moment(pg[i] * by, pm + i, pv + i, px + i, bias2, c);
  sum = block_total(sum);
  if (threadIdx.x == 0)
    partial[blockIdx.x] = sum;
}

__device__ float moved(float p, float m, float vmax, float decay, float rate, float bias2, float eps) {
  return decay * p - rate * (m / (sqrtf(vmax) / bias2 + eps));
}

// Decays and moves; partial is what adamw_moments gave.
extern "C" __global__ void adamw_move(const __grid_constant__ Parameters all, const float *rates, const float *scale,
                                      const float *partial, float eps) {
  if (*scale < 0)
    return;
  Part b = part_of(all);
  unsigned n = all.of[b.of].n;
  float sum = 0;
  for (unsigned i = threadIdx.x; i < (n - 1) / 4096 + 1; i += blockDim.x)
    sum += partial[b.first + i];
  float rate = rates[1] / fmaxf(1, sqrtf(block_total(sum) / n));
  float decay = rates[0];
  float bias2 = rates[2];
  float *pp = all.of[b.of].p;
  float *pm = all.of[b.of].m;
  float *px = all.of[b.of].vmax;
  for (unsigned i = b.at + 4 * threadIdx.x; i < b.whole; i += 4 * blockDim.x) {
    float4 p = *four(pp, i);
    float4 m = *four(pm, i);
    float4 x = *four(px, i);
    p.x = moved(p.x, m.x, x.x, decay, rate, bias2, eps);
    p.y = moved(p.y, m.y, x.y, decay, rate, bias2, eps);
    p.z = moved(p.z, m.z, x.z, decay, rate, bias2, eps);
    p.w = moved(p.w, m.w, x.w, decay, rate, bias2, eps);
    *four(pp, i) = p;
  }
  for (unsigned i = b.whole + threadIdx.x; i < b.end; i += blockDim.x)
    pp[i] = moved(pp[i], pm[i], px[i], decay, rate, bias2, eps);
}
