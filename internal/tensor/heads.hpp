// The element-wise parts of linear attention (see attention.go), forward and backward in one pass over memory each:
// loops for float32 on the CPU and kernels on CUDA (heads.cu), or composed of LibTorch's operations. The matrix
// multiplications between them are LibTorch's.
#include "bridge.h"
#include "check.h"
#include "handles.h"
#include "kernels.h"
#include "loops.h"

#include <cmath>

#include <torch/csrc/autograd/custom_function.h>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

#define VECTORISED                                                                                                     \
  __attribute__((target_clones("avx512f", "avx2,fma", "default"), optimize("O3,no-trapping-math,no-math-errno")))

// Heads are laid out [S, H, V, N, D] in groups of V images, tokens [S·V, N, C] with C = H·D.
struct Layout {
  int64_t s, h, v, n, d;
  // Calls work(token, head) with the row of a token [S·V, N] and of a head [S, H, V, N] for all pairs, in parallel.
  template <class F> void each(F work) const {
    at::parallel_for(0, s * h * v, 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) {
        int64_t view = i % v, head = i / v % h, object = i / v / h;
        for (int64_t t = 0; t < n; t++)
          work(((object * v + view) * n + t) * h + head, i * n + t);
      }
    });
  }
};

// Who computes: LibTorch's operations, our loops on the CPU or our kernels on CUDA. There are no loops for bfloat16.
enum Way { composed, loops, kernels };

Way way_for(const Tensor &t, bool fused) {
  if (!fused || (t.is_cpu() && t.scalar_type() == torch::kBFloat16))
    return composed;
  return t.is_cpu() ? loops : kernels;
}

// Launches a kernel for count elements that ends its arguments with count and l.
template <class... Args> void launch(const Tensor &on, std::string name, int64_t count, Layout l, Args... args) {
  unsigned n = static_cast<unsigned>(count), layout[] = {static_cast<unsigned>(l.h), static_cast<unsigned>(l.v),
                                                         static_cast<unsigned>(l.n), static_cast<unsigned>(l.d)};
  void *all[] = {&args..., &n, layout};
  launch_kernel(on, name.c_str(), grid_for(count), all);
}

const char *suffix(const Tensor &t) { return t.scalar_type() == torch::kFloat ? "_float" : "_bfloat16"; }

// y = phi(x + b) with phi(v) = elu(v) + 1, which is exp(v) below 0: Cephes' expf without branches.
VECTORISED void phi(const float *__restrict__ x, const float *__restrict__ b, float *__restrict__ y, int64_t n) {
  constexpr float shift = 12582912.0f; // 1.5·2^23: the sum has no fraction left
  for (int64_t i = 0; i < n; i++) {
    float v = x[i] + b[i], low = v < -87.0f ? -87.0f : v > 0.0f ? 0.0f : v;
    float k = (low * 1.44269504088896341f + shift) - shift;
    float r = (low - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = (static_cast<int32_t>(k) + 127) << 23;
    float scale;
    __builtin_memcpy(&scale, &bits, 4);
    y[i] = v > 0.0f ? v + 1.0f : v != v ? v : p * scale;
  }
}

// The derivative of phi at x is min(phi(x), 1).
VECTORISED void phi_backward(const float *__restrict__ g, const float *__restrict__ y, float *__restrict__ out,
                             int64_t n) {
  for (int64_t i = 0; i < n; i++)
    out[i] = g[i] * (y[i] < 1.0f ? y[i] : 1.0f);
}

VECTORISED void add(const float *__restrict__ x, const float *__restrict__ b, float *__restrict__ y, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    y[i] = x[i] + b[i];
}

// Tokens [S·V, N, 3C] and their bias [3C] to q = phi, k = phi [S, H, V, N, D] and v with a column of ones [S, H, V, N,
// D+1].
struct Split : Function<Split> {
  static tensor_list forward(AutogradContext *ctx, const Tensor &qkv, const Tensor &bias, int64_t views, int64_t heads,
                             bool fused) {
    Layout l{qkv.size(0) / views, heads, views, qkv.size(1), qkv.size(2) / 3 / heads};
    auto opt = qkv.options().dtype(torch::kFloat);
    Tensor q, k, v;
    Way way = way_for(qkv, fused);
    if (way != composed) {
      q = torch::empty({l.s, l.h, l.v, l.n, l.d}, opt);
      k = torch::empty_like(q);
      v = torch::empty({l.s, l.h, l.v, l.n, l.d + 1}, opt);
    }
    if (way == kernels) {
      launch(qkv, std::string("split") + suffix(qkv), q.numel(), l, qkv.const_data_ptr(), bias.const_data_ptr(),
             q.data_ptr(), k.data_ptr(), v.data_ptr());
    } else if (way == loops) {
      const float *x = qkv.const_data_ptr<float>(), *b = bias.const_data_ptr<float>();
      float *pq = q.data_ptr<float>(), *pk = k.data_ptr<float>(), *pv = v.data_ptr<float>();
      int64_t d = l.d, c = l.h * d;
      l.each([&](int64_t token, int64_t row) {
        int64_t head = token % l.h * d;
        const float *in = x + token / l.h * 3 * c + head, *by = b + head;
        phi(in, by, pq + row * d, d);
        phi(in + c, by + c, pk + row * d, d);
        add(in + 2 * c, by + 2 * c, pv + row * (d + 1), d);
        pv[row * (d + 1) + d] = 1;
      });
    } else {
      auto parts =
          (qkv + bias).reshape({l.s, l.v, l.n, 3, l.h, l.d}).permute({3, 0, 4, 1, 2, 5}).to(torch::kFloat).unbind(0);
      q = at::elu(parts[0]).add_(1).contiguous();
      k = at::elu(parts[1]).add_(1).contiguous();
      v = at::constant_pad_nd(parts[2], {0, 1}, 1).contiguous();
    }
    ctx->save_for_backward({q, k});
    ctx->saved_data["type"] = qkv.scalar_type();
    ctx->saved_data["bias"] = bias.scalar_type();
    ctx->saved_data["way"] = static_cast<int64_t>(way);
    return {q, k, v};
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list g) {
    auto saved = ctx->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1];
    Layout l{q.size(0), q.size(1), q.size(2), q.size(3), q.size(4)};
    auto type = ctx->saved_data["type"].toScalarType();
    for (int i = 0; i < 3; i++)
      g[i] = g[i].defined() ? g[i].contiguous() : torch::zeros({l.s, l.h, l.v, l.n, l.d + i / 2}, q.options());
    int64_t d = l.d, c = l.h * d;
    auto way = static_cast<Way>(ctx->saved_data["way"].toInt());
    Tensor out;
    if (way == kernels) {
      out = torch::empty({l.s * l.v, l.n, 3 * c}, q.options().dtype(type));
      launch(out, std::string("split_backward") + suffix(out), q.numel(), l, g[0].const_data_ptr(),
             g[1].const_data_ptr(), g[2].const_data_ptr(), q.const_data_ptr(), k.const_data_ptr(), out.data_ptr());
    } else if (way == loops) {
      out = torch::empty({l.s * l.v, l.n, 3 * c}, q.options());
      const float *gq = g[0].const_data_ptr<float>(), *gk = g[1].const_data_ptr<float>(),
                  *gv = g[2].const_data_ptr<float>(), *pq = q.const_data_ptr<float>(), *pk = k.const_data_ptr<float>();
      float *o = out.data_ptr<float>();
      l.each([&](int64_t token, int64_t row) {
        float *to = o + token / l.h * 3 * c + token % l.h * d;
        phi_backward(gq + row * d, pq + row * d, to, d);
        phi_backward(gk + row * d, pk + row * d, to + c, d);
        std::copy(gv + row * (d + 1), gv + row * (d + 1) + d, to + 2 * c);
      });
    } else {
      out = torch::stack({g[0] * q.clamp_max(1), g[1] * k.clamp_max(1), g[2].narrow(-1, 0, d)})
                .permute({1, 3, 4, 0, 2, 5})
                .reshape({l.s * l.v, l.n, 3 * c});
    }
    Tensor bias = out.flatten(0, 1).sum(0, /*keepdim=*/false, ctx->saved_data["bias"].toScalarType());
    return {out.to(type), bias, Tensor(), Tensor(), Tensor()};
  }
};

VECTORISED void divide(const float *__restrict__ x, float by, float *__restrict__ out, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    out[i] = x[i] / by;
}

// out = g / by; returns the sum of g·y.
VECTORISED float divide_backward(const float *__restrict__ g, const float *__restrict__ y, float by,
                                 float *__restrict__ out, int64_t n) {
  constexpr int lanes = 16;
  float sum[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int j = 0; j < lanes; j++) {
      out[i + j] = g[i + j] / by;
      sum[j] += g[i + j] * y[i + j];
    }
  for (; i < n; i++) {
    out[i] = g[i] / by;
    sum[0] += g[i] * y[i];
  }
  float total = 0;
  for (float s : sum)
    total += s;
  return total;
}

// x [S, H, V, N, D+1] to tokens [S·V, N, C]: the first D columns over the last plus eps.
struct Merge : Function<Merge> {
  static Tensor forward(AutogradContext *ctx, const Tensor &x, double eps, bool fused) {
    Layout l{x.size(0), x.size(1), x.size(2), x.size(3), x.size(4) - 1};
    Way way = way_for(x, fused);
    Tensor out, sums;
    int64_t d = l.d;
    if (way == kernels) {
      out = torch::empty({l.s * l.v, l.n, l.h * d}, x.options());
      sums = torch::empty({l.s, l.h, l.v, l.n}, x.options());
      launch(x, "merge", out.numel(), l, x.const_data_ptr(), sums.data_ptr(), out.data_ptr(), static_cast<float>(eps));
    } else {
      sums = x.select(-1, l.d).add(eps).contiguous();
    }
    if (way == loops) {
      out = torch::empty({l.s * l.v, l.n, l.h * d}, x.options());
      const float *p = x.const_data_ptr<float>(), *by = sums.const_data_ptr<float>();
      float *o = out.data_ptr<float>();
      l.each([&](int64_t token, int64_t row) { divide(p + row * (d + 1), by[row], o + token * d, d); });
    } else if (way == composed) {
      out = (x.narrow(-1, 0, d) / sums.unsqueeze(-1)).permute({0, 2, 3, 1, 4}).reshape({l.s * l.v, l.n, l.h * d});
    }
    ctx->save_for_backward({out, sums});
    ctx->saved_data["way"] = static_cast<int64_t>(way);
    return out;
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &y = saved[0], &sums = saved[1];
    Layout l{sums.size(0), sums.size(1), sums.size(2), sums.size(3), y.size(2) / sums.size(1)};
    Tensor g = grads[0].contiguous(), out;
    int64_t d = l.d;
    auto way = static_cast<Way>(ctx->saved_data["way"].toInt());
    if (way != composed)
      out = torch::empty({l.s, l.h, l.v, l.n, d + 1}, g.options());
    if (way == kernels) {
      launch(g, "merge_backward", out.numel(), l, g.const_data_ptr(), y.const_data_ptr(), sums.const_data_ptr(),
             out.data_ptr());
    } else if (way == loops) {
      const float *pg = g.const_data_ptr<float>(), *py = y.const_data_ptr<float>(), *by = sums.const_data_ptr<float>();
      float *o = out.data_ptr<float>();
      l.each([&](int64_t token, int64_t row) {
        float *to = o + row * (d + 1);
        float sum = divide_backward(pg + token * d, py + token * d, by[row], to, d);
        to[d] = -sum / by[row];
      });
    } else {
      auto heads = [&](const Tensor &t) { return t.reshape({l.s, l.v, l.n, l.h, d}).permute({0, 3, 1, 2, 4}); };
      Tensor over = heads(g) / sums.unsqueeze(-1);
      out = torch::cat({over, -(over * heads(y)).sum(-1, true)}, -1);
    }
    return {out, Tensor(), Tensor()};
  }
};

VECTORISED void scale_row(const float *__restrict__ x, float by, float *__restrict__ out, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    out[i] = x[i] * by;
}

// sum += g·by; returns the sum of g·x.
VECTORISED float scale_row_backward(const float *__restrict__ g, const float *__restrict__ x, float by,
                                    float *__restrict__ sum, int64_t n) {
  constexpr int lanes = 16;
  float dots[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int j = 0; j < lanes; j++) {
      sum[i + j] += g[i + j] * by;
      dots[j] += g[i + j] * x[i + j];
    }
  for (; i < n; i++) {
    sum[i] += g[i] * by;
    dots[0] += g[i] * x[i];
  }
  float total = 0;
  for (float s : dots)
    total += s;
  return total;
}

// q [.., D] times each of scale [.., V]: [.., V, D].
struct Spread : Function<Spread> {
  static Tensor forward(AutogradContext *ctx, const Tensor &q, const Tensor &scale, bool fused) {
    ctx->save_for_backward({q, scale});
    Way way = way_for(q, fused);
    ctx->saved_data["way"] = static_cast<int64_t>(way);
    if (way != loops)
      return scale.unsqueeze(-1) * q.unsqueeze(-2);
    auto shape = scale.sizes().vec();
    int64_t v = shape.back(), d = q.size(-1), rows = scale.numel() / v;
    shape.push_back(d);
    Tensor out = torch::empty(shape, q.options());
    const float *pq = q.const_data_ptr<float>(), *ps = scale.const_data_ptr<float>();
    float *o = out.data_ptr<float>();
    at::parallel_for(0, rows, 64, [&](int64_t from, int64_t to) {
      for (int64_t r = from * v; r < to * v; r++)
        scale_row(pq + r / v * d, ps[r], o + r * d, d);
    });
    return out;
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &q = saved[0], &scale = saved[1];
    Tensor g = grads[0].contiguous();
    auto way = static_cast<Way>(ctx->saved_data["way"].toInt());
    if (way == composed)
      return {at::matmul(scale.unsqueeze(-2), g).squeeze(-2), at::matmul(g, q.unsqueeze(-1)).squeeze(-1), Tensor()};
    int64_t v = scale.size(-1), d = q.size(-1), rows = scale.numel() / v;
    Tensor gq = way == loops ? torch::zeros_like(q) : torch::empty_like(q), gs = torch::empty_like(scale);
    if (way == kernels) {
      launch(g, "spread_backward", grid_for(rows * (d + v)), address(g), address(q), address(scale), gq.data_ptr(),
             gs.data_ptr(), static_cast<unsigned>(rows * (d + v)), static_cast<unsigned>(v), static_cast<unsigned>(d));
      return {gq, gs, Tensor()};
    }
    const float *pg = g.const_data_ptr<float>(), *pq = q.const_data_ptr<float>(), *ps = scale.const_data_ptr<float>();
    float *oq = gq.data_ptr<float>(), *os = gs.data_ptr<float>();
    at::parallel_for(0, rows, 64, [&](int64_t from, int64_t to) {
      for (int64_t r = from * v; r < to * v; r++)
        os[r] = scale_row_backward(pg + r * d, pq + r / v * d, ps[r], oq + r / v * d, d);
    });
    return {gq, gs, Tensor()};
  }
};

} // namespace

char *mvag_split_heads(handle *out, handle qkv, handle bias, int64_t views, int64_t heads, bool fused) {
  return guarded([&] {
    const Tensor &x = as_tensor(qkv), &b = as_tensor(bias);
    TORCH_CHECK(x.dim() == 3 && views > 0 && heads > 0 && x.size(0) % views == 0 && x.size(2) % (3 * heads) == 0,
                "qkv: have shape ", x.sizes(), ", want [S*V, N, 3*H*D] for ", views, " views and ", heads, " heads");
    if (way_for(x, fused) != composed) {
      Demands want{x.device()};
      want.tensor("qkv", x, {torch::kFloat, torch::kBFloat16}, x.sizes());
      want.tensor("bias", b, {torch::kFloat}, {x.size(2)});
    }
    auto parts = Split::apply(x, b, views, heads, fused);
    for (int i = 0; i < 3; i++)
      out[i] = give(parts[i]);
  });
}

char *mvag_merge_heads(handle *out, handle x, double eps, bool fused) {
  return guarded([&] {
    const Tensor &sums = as_tensor(x);
    TORCH_CHECK(sums.dim() == 5 && sums.size(4) > 1, "sums: have shape ", sums.sizes(), ", want [S, H, V, N, D+1]");
    if (way_for(sums, fused) != composed)
      Demands{sums.device()}.tensor("sums", sums, {torch::kFloat}, sums.sizes());
    *out = give(Merge::apply(sums, eps, fused));
  });
}

char *mvag_spread(handle *out, handle q, handle scale, bool fused) {
  return guarded([&] {
    const Tensor &x = as_tensor(q), &by = as_tensor(scale);
    if (way_for(x, fused) != composed) {
      TORCH_CHECK(x.dim() > 0 && by.dim() == x.dim(), "scale: have shape ", by.sizes(),
                  ", want that of q but for the last dimension");
      auto shape = x.sizes().vec();
      shape.back() = -1;
      Demands want{x.device()};
      want.tensor("q", x, {torch::kFloat}, x.sizes());
      want.tensor("scale", by, {torch::kFloat}, shape);
    }
    *out = give(Spread::apply(x, by, fused));
  });
}
