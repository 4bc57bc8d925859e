// Linear attention in bfloat16 by tensor cores (attend.hpp): each query view j of an object attends to the key views i
// with a weight w(j, i) other than 0,
//
//	out = Σ_i w(j, i) · kept(j, i) · q·S_i / (q·s_i + eps),  S_i = Σ k⊗v,  s_i = Σ k,
//
// over the tokens of view i, with q = phi(q + bias) and so on. Sums are float32; S_i is stored as bfloat16.
//
// A head has D = 64 channels. H heads:
//
//	qkv, its gradient   bfloat16 [S·V, N, 3C], C = 64·H
//	out, its gradient g bfloat16 [S·V, N, C]
//	factors             bfloat16 [S, H, V, 2, D, D]   S_i transposed, then S_i
//	last                float32  [S, H, V, D]         s_i
//	scale               float32  [S, H, Vj, Vi, N]    w·kept/(q·s_i + eps)
//
// Where one thread holds 16 elements of a row of 64, thread 4g+t of a warp has elements 16t to 16t+15 of rows g and
// g+8: 16 columns of a, in the order in which mma wants b as it lies in memory, and the same columns of c.

struct Heads {
  unsigned h, v, n;
  unsigned tables; // of weights: 1, or one an object
};

constexpr unsigned D = 64;

// phi, as exactly as bfloat16 can hold it.
__device__ float fast_phi(float x) {
  float low = __expf(x > 0 ? 0 : x);
  return x > 0 ? x + 1 : low;
}
__device__ float rounded(float x) { return first_of(bfloat16(x)); }
// w(j, i) for object s.
__device__ float weight_of(const float *weights, Heads l, unsigned s, unsigned j, unsigned i) {
  return weights[((l.tables > 1 ? s : 0) * l.v + j) * l.v + i];
}
// Loads 16 elements, or zeros where there are none.
__device__ void load16(unsigned *to, const unsigned short *from, bool there) {
  const uint4 *p = (const uint4 *)from;
  uint4 a = {0, 0, 0, 0};
  uint4 b = a;
  if (there) {
    a = p[0];
    b = p[1];
  }
  to[0] = a.x;
  to[1] = a.y;
  to[2] = a.z;
  to[3] = a.w;
  to[4] = b.x;
  to[5] = b.y;
  to[6] = b.z;
  to[7] = b.w;
}
__device__ void store16(unsigned short *to, const unsigned *from) {
  uint4 *p = (uint4 *)to;
  p[0] = {from[0], from[1], from[2], from[3]};
  p[1] = {from[4], from[5], from[6], from[7]};
}
// x + bias; phi of it where activate is set.
__device__ void add_bias(unsigned *x, const float *bias, bool activate) {
#pragma unroll
  for (int i = 0; i < 8; i++) {
    float a = first_of(x[i]) + bias[2 * i];
    float b = second_of(x[i]) + bias[2 * i + 1];
    x[i] = activate ? pack(fast_phi(a), fast_phi(b)) : pack(a, b);
  }
}

// Which query view j, head and object s the block is for, by blockIdx.y and z: group is s·H + head, first the view's
// first token, channel the head's first.
struct Query {
  unsigned s;
  unsigned j;
  unsigned group;
  unsigned first;
  unsigned channel;
};
__device__ Query query_of(Heads l) {
  unsigned s = blockIdx.z / l.v;
  return {s, blockIdx.z % l.v, s * l.h + blockIdx.y, blockIdx.z * l.n, blockIdx.y * D};
}

// The part of two rows of an image that a thread holds, for its head.
struct Rows {
  unsigned at[2]; // tokens
  unsigned x[2][8];
};
// Beyond the last token, the last one is computed again: no thread leaves its warp, which mma forbids, and writes of
// the same value twice do no harm.
__device__ void locate(Rows *r, unsigned n) {
  unsigned token = (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32) * 16 + threadIdx.x % 32 / 4;
  r->at[0] = min(token, n - 1);
  r->at[1] = min(token + 8, n - 1);
}
__device__ void read_rows(Rows *r, const unsigned short *from, unsigned stride, unsigned first, unsigned channel) {
  channel += threadIdx.x % 4 * 16;
#pragma unroll
  for (int i = 0; i < 2; i++)
    load16(r->x[i], from + (unsigned long long)(first + r->at[i]) * stride + channel, true);
}
__device__ void add_biases(Rows *r, const float *bias, bool activate) {
  bias += threadIdx.x % 4 * 16;
  add_bias(r->x[0], bias, activate);
  add_bias(r->x[1], bias, activate);
}
__device__ void write_rows(const Rows *r, const unsigned (*x)[8], unsigned short *to, unsigned stride, unsigned first,
                           unsigned channel) {
  channel += threadIdx.x % 4 * 16;
#pragma unroll
  for (int i = 0; i < 2; i++)
    store16(to + (unsigned long long)(first + r->at[i]) * stride + channel, x[i]);
}
// c [16 rows, 64] = x · matrix, of which column e is row e of factor.
__device__ void times(float (*c)[4], const unsigned (*x)[8], const unsigned short *factor) {
  unsigned g = threadIdx.x % 32 / 4;
  unsigned t = threadIdx.x % 4;
#pragma unroll
  for (int tile = 0; tile < 8; tile++) {
    unsigned b[8];
    load16(b, factor + (g / 2 * 16 + tile * 2 + g % 2) * D + t * 16, true);
    for (int i = 0; i < 4; i++)
      c[tile][i] = 0;
#pragma unroll
    for (int step = 0; step < 4; step++) {
      unsigned a[4] = {x[0][2 * step], x[1][2 * step], x[0][2 * step + 1], x[1][2 * step + 1]};
      mma(c[tile], a, b[2 * step], b[2 * step + 1]);
    }
  }
}

// Adds to acc, over the n tokens of an image, phi(keys)·scale ⊗ values, and as column 64 phi(keys)·scale times last (1
// where it is NULL) times factor. A block has two groups of 8 warps, which take 64 tokens in turn: in each, 4 warps
// read 16 columns of keys and 4 of values, then all sum 16 rows and half of the columns. from and bias are those of the
// thread's warp.
struct Outer {
  unsigned keys[64][36]; // by channel, two tokens a word
  unsigned values[72][36];
};
__device__ void add_outer(Outer *o, float (*acc)[4], const unsigned short *from, unsigned stride, const float *bias,
                          const float *scale, const float *last, float factor, unsigned n) {
  unsigned lane = threadIdx.x % 32;
  unsigned warp = threadIdx.x / 32 % 8;
  bool key = warp < 4;
  unsigned column = warp % 4 * 16;
  unsigned token = threadIdx.x / 256 * 64 + 2 * lane;
  o += threadIdx.x / 256;
  unsigned raw[2][8];
  for (unsigned i = 0; i < 2; i++)
    load16(raw[i], from + (unsigned long long)(token + i) * stride, token + i < n);
  for (unsigned first = 0; first < n; first += 128) {
    bool a_there = token < n;
    bool b_there = token + 1 < n;
    float a_by = a_there ? 1 : 0;
    float b_by = b_there ? 1 : 0;
    if (scale && key) {
      a_by = a_there ? scale[token] : 0;
      b_by = b_there ? scale[token + 1] : 0;
    }
    __syncthreads(); // the tokens before have been read
    if (bias) {
      add_bias(raw[0], bias, key);
      add_bias(raw[1], bias, key);
    }
    unsigned (*to)[36] = key ? &o->keys[column] : &o->values[column];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      to[2 * i][lane] = pack(first_of(raw[0][i]) * a_by, first_of(raw[1][i]) * b_by);
      to[2 * i + 1][lane] = pack(second_of(raw[0][i]) * a_by, second_of(raw[1][i]) * b_by);
    }
    if (warp == 4)
      o->values[64][lane] =
          last ? pack(a_there ? last[token] * factor : 0, b_there ? last[token + 1] * factor : 0) : pack(1, 1);
    __syncthreads();
    token += 128;
    for (unsigned i = 0; i < 2; i++)
      load16(raw[i], from + (unsigned long long)(token + i) * stride, token + i < n);
    unsigned g = lane / 4;
    unsigned t = lane % 4;
#pragma unroll
    for (unsigned step = 0; step < 4; step++) {
      const unsigned *a0 = &o->keys[column + g][8 * step + t];
      const unsigned *a1 = &o->keys[column + g + 8][8 * step + t];
      unsigned a[4] = {a0[0], a1[0], a0[4], a1[4]};
#pragma unroll
      for (unsigned tile = 0; tile < 5; tile++) {
        if (tile == 4 && warp < 4)
          continue;
        const unsigned *b = &o->values[(warp / 4 * 4 + tile) * 8 + g][8 * step + t];
        mma(acc[tile], a, b[0], b[4]);
      }
    }
  }
}
// Adds the sums of the second group to those of the first; returns whether this thread is in the first.
__device__ bool whole_outer(Outer *o, float (*acc)[4]) {
  float *other = (float *)o + threadIdx.x % 256;
  __syncthreads();
#pragma unroll
  for (int i = 0; threadIdx.x >= 256 && i < 20; i++)
    other[i * 256] = acc[i / 4][i % 4];
  __syncthreads();
#pragma unroll
  for (int i = 0; threadIdx.x < 256 && i < 20; i++)
    acc[i / 4][i % 4] += other[i * 256];
  return threadIdx.x < 256;
}
// Writes the sums of add_outer, times by, as factors and last.
__device__ void write_outer(const float (*acc)[4], unsigned short *factors, float *last, float by) {
  unsigned lane = threadIdx.x % 32;
  unsigned warp = threadIdx.x / 32;
  unsigned short *transposed = factors;
  factors += D * D;
  for (unsigned i = 0; i < 2; i++) {
    unsigned d = warp % 4 * 16 + lane / 4 + 8 * i;
#pragma unroll
    for (unsigned tile = 0; tile < 4; tile++) {
      unsigned e = (warp / 4 * 4 + tile) * 8 + lane % 4 * 2;
      unsigned two = pack(acc[tile][2 * i] * by, acc[tile][2 * i + 1] * by);
      *(unsigned *)(factors + d * D + e) = two;
      transposed[e * D + d] = two;
      transposed[(e + 1) * D + d] = two >> 16;
    }
    if (warp >= 4 && lane % 4 == 0)
      last[d] = acc[4][2 * i] * by;
  }
}
// Clears the sums, and the columns beyond 64.
__device__ void begin_outer(Outer *o, float (*acc)[4]) {
  for (unsigned i = threadIdx.x % 256; i < 7 * 36; i += 256)
    o[threadIdx.x / 256].values[65 + i / 36][i % 36] = 0;
  for (int tile = 0; tile < 5; tile++)
    for (int i = 0; i < 4; i++)
      acc[tile][i] = 0;
}

// Factors and last of view blockIdx.x, head blockIdx.y, object blockIdx.z.
extern "C" __global__ void __launch_bounds__(512, 1)
    attend_sums(const unsigned short *qkv, const float *bias, unsigned short *factors, float *last, Heads l) {
  __shared__ Outer o[2];
  float acc[5][4];
  begin_outer(o, acc);
  unsigned c = l.h * D;
  unsigned image = blockIdx.z * l.v + blockIdx.x;
  unsigned warp = threadIdx.x / 32 % 8;
  unsigned column = (1 + warp / 4) * c + blockIdx.y * D + warp % 4 * 16;
  add_outer(o, acc, qkv + (unsigned long long)image * l.n * 3 * c + column, 3 * c, bias + column, nullptr, nullptr, 1,
            l.n);
  unsigned long long at = (blockIdx.z * l.h + blockIdx.y) * l.v + blockIdx.x;
  if (whole_outer(o, acc))
    write_outer(acc, factors + at * 2 * D * D, last + at * D, 1);
}

// Scale for query view j and key view i, blockIdx.x = j·V + i, head blockIdx.y, object blockIdx.z. select is 0 where
// all tokens are kept, 1 for the count lowest z, 2 for the highest; of equal ones the first.
extern "C" __global__ void __launch_bounds__(512)
    attend_scale(const unsigned short *qkv, const float *bias, const float *last, const float *weights, float *scale,
                 float eps, int select, unsigned count, Heads l) {
  __shared__ float z[4096];
  unsigned i = blockIdx.x % l.v;
  unsigned j = blockIdx.x / l.v;
  unsigned group = blockIdx.z * l.h + blockIdx.y;
  float w = weight_of(weights, l, blockIdx.z, j, i);
  float *out = scale + ((unsigned long long)(group * l.v + j) * l.v + i) * l.n;
  if (w == 0) {
    for (unsigned t = threadIdx.x; t < l.n; t += blockDim.x)
      out[t] = 0;
    return;
  }
  unsigned c = l.h * D;
  unsigned channel = blockIdx.y * D + threadIdx.x % 8 * 8;
  const float *sum = last + (group * l.v + i) * D + threadIdx.x % 8 * 8;
  for (unsigned first = 0; first < l.n; first += blockDim.x / 8) {
    unsigned t = first + threadIdx.x / 8;
    float x = 0;
    if (t < l.n) {
      uint4 raw = *(const uint4 *)(qkv + (unsigned long long)((blockIdx.z * l.v + j) * l.n + t) * 3 * c + channel);
      unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
      for (int k = 0; k < 4; k++)
        x += rounded(fast_phi(first_of(words[k]) + bias[channel + 2 * k])) * sum[2 * k] +
             rounded(fast_phi(second_of(words[k]) + bias[channel + 2 * k + 1])) * sum[2 * k + 1];
    }
    x += shuffle_xor(x, 1);
    x += shuffle_xor(x, 2);
    x += shuffle_xor(x, 4);
    if (t < l.n && threadIdx.x % 8 == 0)
      z[t] = x;
  }
  __syncthreads();
  // z is positive: its bits are in its order. limit is the count-th of them.
  unsigned flip = select == 2 ? 0xffffffff : 0;
  unsigned limit = 0;
  unsigned below = 0;
  for (int bit = 31; select && bit >= 0; bit--) {
    unsigned higher = limit | 1u << bit;
    unsigned less = 0;
    for (unsigned first = 0; first < l.n; first += blockDim.x) {
      unsigned t = first + threadIdx.x;
      less += block_count(t < l.n && (__float_as_uint(z[t]) ^ flip) < higher);
    }
    if (less < count) {
      limit = higher;
      below = less;
    }
  }
  unsigned equal = 0;
  for (unsigned first = 0; select && first < l.n; first += blockDim.x) {
    unsigned t = first + threadIdx.x;
    equal += block_count(t < l.n && (__float_as_uint(z[t]) ^ flip) == limit);
  }
  for (unsigned t = threadIdx.x; t < l.n; t += blockDim.x) {
    unsigned key = __float_as_uint(z[t]) ^ flip;
    bool kept = !select || key < limit || key == limit;
    if (select && key == limit && below + equal > count) {
      unsigned before = below;
      for (unsigned u = 0; u < t; u++)
        before += (__float_as_uint(z[u]) ^ flip) == limit;
      kept = before < count;
    }
    out[t] = kept && !(select && count == 0) ? w / (z[t] + eps) : 0;
  }
}

// out = base + factor · attention, or attention where there is no base, for 16 tokens a warp of head blockIdx.y of
// image blockIdx.z.
extern "C" __global__ void __launch_bounds__(128)
    attend_gather(const unsigned short *qkv, const float *bias, const unsigned short *factors, const float *weights,
                  const float *scale, const unsigned short *base, const float *factor, unsigned short *out, Heads l) {
  unsigned c = l.h * D;
  Query at = query_of(l);
  Rows q;
  locate(&q, l.n);
  read_rows(&q, qkv, 3 * c, at.first, at.channel);
  add_biases(&q, bias + at.channel, true);
  float sum[8][4] = {};
  for (unsigned i = 0; i < l.v; i++) {
    if (weight_of(weights, l, at.s, at.j, i) == 0)
      continue;
    const float *by = scale + ((unsigned long long)(at.group * l.v + at.j) * l.v + i) * l.n;
    float by0 = by[q.at[0]];
    float by1 = by[q.at[1]];
    float part[8][4];
    times(part, q.x, factors + (unsigned long long)(at.group * l.v + i) * 2 * D * D);
#pragma unroll
    for (int tile = 0; tile < 8; tile++)
      for (int k = 0; k < 4; k++)
        sum[tile][k] += (k < 2 ? by0 : by1) * part[tile][k];
  }
  unsigned x[2][8];
  Rows old = q;
  if (base)
    read_rows(&old, base, c, at.first, at.channel);
  float f = base ? *factor : 1;
#pragma unroll
  for (int r = 0; r < 2; r++)
    for (int k = 0; k < 8; k++)
      x[r][k] = base ? pack(first_of(old.x[r][k]) + f * sum[k][2 * r], second_of(old.x[r][k]) + f * sum[k][2 * r + 1])
                     : pack(sum[k][2 * r], sum[k][2 * r + 1]);
  write_rows(&q, x, out, c, at.first, at.channel);
}

// The gradient of the queries, written to gqkv, from the gradient g of out. For attend_back_sums and the gradients of
// weights and factor: weighted = scale · its gradient [S, H, Vj, Vi, N].
extern "C" __global__ void __launch_bounds__(128)
    attend_back_queries(const unsigned short *g, const unsigned short *qkv, const float *bias,
                        const unsigned short *factors, const float *last, const float *weights, const float *scale,
                        const float *factor, unsigned short *gqkv, float *weighted, Heads l) {
  unsigned c = l.h * D;
  Query at = query_of(l);
  unsigned t16 = threadIdx.x % 4 * 16;
  Rows q;
  locate(&q, l.n);
  Rows grad = q;
  read_rows(&q, qkv, 3 * c, at.first, at.channel);
  read_rows(&grad, g, c, at.first, at.channel);
  add_biases(&q, bias + at.channel, true);
  float sum[8][4] = {};
  for (unsigned i = 0; i < l.v; i++) {
    float w = weight_of(weights, l, at.s, at.j, i);
    unsigned long long row = ((unsigned long long)(at.group * l.v + at.j) * l.v + i) * l.n;
    float by[2] = {scale[row + q.at[0]], scale[row + q.at[1]]};
    float dot[2] = {0, 0};
    if (w != 0) {
      float part[8][4];
      times(part, grad.x, factors + (unsigned long long)(at.group * l.v + i) * 2 * D * D + D * D);
#pragma unroll
      for (int tile = 0; tile < 8; tile++)
        for (int r = 0; r < 2; r++) {
          dot[r] += first_of(q.x[r][tile]) * part[tile][2 * r] + second_of(q.x[r][tile]) * part[tile][2 * r + 1];
          sum[tile][2 * r] += by[r] * part[tile][2 * r];
          sum[tile][2 * r + 1] += by[r] * part[tile][2 * r + 1];
        }
    }
    const float *of = last + (unsigned long long)(at.group * l.v + i) * D + t16;
    for (int r = 0; r < 2; r++) {
      dot[r] += shuffle_xor(dot[r], 1);
      dot[r] += shuffle_xor(dot[r], 2);
      dot[r] *= by[r];
      weighted[row + q.at[r]] = dot[r]; // by all four threads of the row
      if (w == 0)
        continue;
      // Through the denominator: the gradient of z is -weighted · scale / w.
      float through = -dot[r] * by[r] / w;
#pragma unroll
      for (int tile = 0; tile < 8; tile++) {
        sum[tile][2 * r] += through * of[2 * tile];
        sum[tile][2 * r + 1] += through * of[2 * tile + 1];
      }
    }
  }
  float f = factor ? *factor : 1;
  unsigned x[2][8];
#pragma unroll
  for (int r = 0; r < 2; r++)
    for (int k = 0; k < 8; k++)
      x[r][k] = pack(f * sum[k][2 * r] * fminf(first_of(q.x[r][k]), 1),
                     f * sum[k][2 * r + 1] * fminf(second_of(q.x[r][k]), 1));
  write_rows(&q, x, gqkv, 3 * c, at.first, at.channel);
}

// The gradients of factors and last, laid out as they are, of key view blockIdx.x.
extern "C" __global__ void __launch_bounds__(512, 1)
    attend_back_sums(const unsigned short *g, const unsigned short *qkv, const float *bias, const float *weights,
                     const float *scale, const float *weighted, const float *factor, unsigned short *gfactors,
                     float *glast, Heads l) {
  __shared__ Outer o[2];
  float acc[5][4];
  begin_outer(o, acc);
  unsigned c = l.h * D;
  unsigned i = blockIdx.x;
  unsigned group = blockIdx.z * l.h + blockIdx.y;
  unsigned warp = threadIdx.x / 32 % 8;
  unsigned column = blockIdx.y * D + warp % 4 * 16;
  for (unsigned j = 0; j < l.v; j++) {
    float w = weight_of(weights, l, blockIdx.z, j, i);
    if (w == 0)
      continue;
    unsigned long long token = (unsigned long long)(blockIdx.z * l.v + j) * l.n;
    unsigned long long row = ((unsigned long long)(group * l.v + j) * l.v + i) * l.n;
    bool key = warp < 4;
    add_outer(o, acc, key ? qkv + token * 3 * c + column : g + token * c + column, key ? 3 * c : c,
              key ? bias + column : nullptr, scale + row, weighted + row, -1 / w, l.n);
  }
  unsigned long long at = group * l.v + i;
  if (whole_outer(o, acc))
    write_outer(acc, gfactors + at * 2 * D * D, glast + at * D, factor ? *factor : 1);
}

// The gradients of keys and values, written to gqkv, from those of factors and last.
extern "C" __global__ void __launch_bounds__(128)
    attend_back_keys(const unsigned short *qkv, const float *bias, const unsigned short *gfactors, const float *glast,
                     unsigned short *gqkv, Heads l) {
  unsigned c = l.h * D;
  unsigned at = (blockIdx.z / l.v * l.h + blockIdx.y) * l.v + blockIdx.z % l.v;
  unsigned first = blockIdx.z * l.n;
  unsigned channel = c + blockIdx.y * D;
  unsigned t16 = threadIdx.x % 4 * 16;
  const unsigned short *factor = gfactors + (unsigned long long)at * 2 * D * D;
  Rows k;
  locate(&k, l.n);
  Rows v = k;
  read_rows(&k, qkv, 3 * c, first, channel);
  read_rows(&v, qkv, 3 * c, first, c + channel);
  add_biases(&k, bias + channel, true);
  add_biases(&v, bias + c + channel, false);
  float part[8][4];
  unsigned x[2][8];
  times(part, k.x, factor);
#pragma unroll
  for (int r = 0; r < 2; r++)
    for (int i = 0; i < 8; i++)
      x[r][i] = pack(part[i][2 * r], part[i][2 * r + 1]);
  write_rows(&k, x, gqkv, 3 * c, first, c + channel);
  times(part, v.x, factor + D * D);
  const float *of = glast + at * D + t16;
#pragma unroll
  for (int r = 0; r < 2; r++)
    for (int i = 0; i < 8; i++)
      x[r][i] = pack((part[i][2 * r] + of[2 * i]) * fminf(first_of(k.x[r][i]), 1),
                     (part[i][2 * r + 1] + of[2 * i + 1]) * fminf(second_of(k.x[r][i]), 1));
  write_rows(&k, x, gqkv, 3 * c, first, channel);
}
