// Kernels for the element-wise parts of linear attention (heads.hpp has the same loops for the CPU): one thread an
// element, no communication between threads.
//
// Tokens are laid out [S·V, N, C], heads [S, H, V, N, D] with C = H·D; a row is one of [S, H, V, N]. Elements are
// float, or bfloat16 as unsigned short.

struct Layout {
  unsigned h, v, n, d;
};

// The row of a token's head.
__device__ unsigned row_of(Layout l, unsigned token, unsigned head) {
  unsigned image = token / l.n;
  return ((image / l.v * l.h + head) * l.v + image % l.v) * l.n + token % l.n;
}
// The element of tokens [S·V, N, C] that a thread works on: index i, column at of its token, row of its head and column
// j in it.
struct Element {
  unsigned i, token, at, row, j;
};
__device__ bool element_of(unsigned count, Layout l, Element *e) {
  unsigned c = l.h * l.d;
  e->i = blockIdx.x * blockDim.x + threadIdx.x;
  e->token = e->i / c;
  e->at = e->i % c;
  e->row = row_of(l, e->token, e->at / l.d);
  e->j = e->at % l.d;
  return e->i < count;
}
// The token [S·V, N] of a row, and in head the head.
__device__ unsigned token_of(Layout l, unsigned row, unsigned *head) {
  unsigned view = row / l.n % l.v;
  unsigned group = row / l.n / l.v;
  *head = group % l.h;
  return (group / l.h * l.v + view) * l.n + row % l.n;
}

__device__ float phi(float x) {
  float low = expf(x > 0 ? 0 : x); // without a branch
  return x > 0 ? x + 1 : low;
}

// qkv [S·V, N, 3C] + bias [3C] to phi(q), phi(k) and v with a column of ones.
template <class T>
__device__ void split(const T *qkv, const float *bias, float *q, float *k, float *v, unsigned count, Layout l) {
  Element e;
  if (!element_of(count, l, &e))
    return;
  unsigned c = l.h * l.d;
  const T *in = qkv + (unsigned long long)e.token * 3 * c + e.at;
  q[e.row * l.d + e.j] = phi(load(in) + bias[e.at]);
  k[e.row * l.d + e.j] = phi(load(in + c) + bias[c + e.at]);
  v[e.row * (l.d + 1) + e.j] = load(in + 2 * c) + bias[2 * c + e.at];
  if (e.j == 0)
    v[e.row * (l.d + 1) + l.d] = 1;
}

// The derivative of phi at x is min(phi(x), 1).
template <class T>
__device__ void split_backward(const float *gq, const float *gk, const float *gv, const float *q, const float *k,
                               T *out, unsigned count, Layout l) {
  Element e;
  if (!element_of(count, l, &e))
    return;
  unsigned c = l.h * l.d;
  unsigned j = e.row * l.d + e.j;
  T *to = out + (unsigned long long)e.token * 3 * c + e.at;
  store(to, gq[j] * fminf(q[j], 1));
  store(to + c, gk[j] * fminf(k[j], 1));
  store(to + 2 * c, gv[j + e.row]);
}

// [row, D+1] to tokens: the first D columns over the last plus eps, which is kept in sums.
extern "C" __global__ void merge(const float *x, float *sums, float *out, float eps, unsigned count, Layout l) {
  Element e;
  if (!element_of(count, l, &e))
    return;
  float sum = x[e.row * (l.d + 1) + l.d] + eps;
  out[e.i] = x[e.row * (l.d + 1) + e.j] / sum;
  if (e.j == 0)
    sums[e.row] = sum;
}

// y is what merge gave. count is that of [row, D+1].
extern "C" __global__ void merge_backward(const float *g, const float *y, const float *sums, float *out, unsigned count,
                                          Layout l) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count)
    return;
  unsigned row = i / (l.d + 1);
  unsigned j = i % (l.d + 1);
  unsigned head;
  unsigned at = token_of(l, row, &head) * l.h * l.d;
  at += head * l.d;
  if (j < l.d) {
    out[i] = g[at + j] / sums[row];
    return;
  }
  float dot = 0;
  for (j = 0; j < l.d; j++)
    dot += g[at + j] * y[at + j];
  out[i] = -dot / sums[row];
}

// Of out = scale [R, V] times q [R, D], [R, V, D]: what its gradient g gives q and scale. count is R·(D+V).
extern "C" __global__ void spread_backward(const float *g, const float *q, const float *scale, float *gq, float *gs,
                                           unsigned count, unsigned v, unsigned d) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count)
    return;
  unsigned row = i / (d + v);
  unsigned j = i % (d + v);
  const float *of = g + (unsigned long long)row * v * d;
  float sum = 0;
  if (j < d) {
    for (unsigned w = 0; w < v; w++)
      sum += scale[row * v + w] * of[w * d + j];
    gq[row * d + j] = sum;
    return;
  }
  j -= d;
  for (unsigned w = 0; w < d; w++)
    sum += of[j * d + w] * q[row * d + w];
  gs[row * v + j] = sum;
}

extern "C" __global__ void split_float(const float *qkv, const float *bias, float *q, float *k, float *v,
                                       unsigned count, Layout l) {
  split(qkv, bias, q, k, v, count, l);
}
extern "C" __global__ void split_bfloat16(const unsigned short *qkv, const float *bias, float *q, float *k, float *v,
                                          unsigned count, Layout l) {
  split(qkv, bias, q, k, v, count, l);
}
extern "C" __global__ void split_backward_float(const float *gq, const float *gk, const float *gv, const float *q,
                                                const float *k, float *out, unsigned count, Layout l) {
  split_backward(gq, gk, gv, q, k, out, count, l);
}
extern "C" __global__ void split_backward_bfloat16(const float *gq, const float *gk, const float *gv, const float *q,
                                                   const float *k, unsigned short *out, unsigned count, Layout l) {
  split_backward(gq, gk, gv, q, k, out, count, l);
}
