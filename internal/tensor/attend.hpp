// Linear attention as one operation, by our own kernels for bfloat16 on CUDA (attend.cu has the formula and the
// layouts).
#include "bridge.h"
#include "check.h"
#include "column_sums.h"
#include "handles.h"
#include "kernels.h"

#include <optional>

#include <torch/csrc/autograd/custom_function.h>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

constexpr int64_t width = 64;         // channels of a head
constexpr int64_t most_tokens = 4096; // attend_scale keeps as many in shared memory

struct Heads {
  unsigned h, v, n, tables;
};

// The blocks of a kernel that takes 64 tokens of a head of an image.
Grid by_tokens(const Heads &l, int64_t images) { return {(l.n + 63) / 64, l.h, static_cast<unsigned>(images), 128}; }

struct Attend : Function<Attend> {
  // qkv [S·V, N, 3C], bias [3C], weights [1 or S, V, V]; base [S·V, N, C] and factor [] are both there or neither.
  // Returns [S·V, N, C].
  static Tensor forward(AutogradContext *ctx, const Tensor &qkv, const Tensor &bias, const Tensor &weights,
                        const std::optional<Tensor> &base, const std::optional<Tensor> &factor, mvag_attention o) {
    int64_t images = qkv.size(0), n = qkv.size(1), c = qkv.size(2) / 3, views = weights.size(1),
            objects = images / views;
    Heads l{static_cast<unsigned>(c / width), static_cast<unsigned>(views), static_cast<unsigned>(n),
            static_cast<unsigned>(weights.size(0))};
    auto floats = bias.options();
    Tensor factors = torch::empty({objects, l.h, views, 2, width, width}, qkv.options()),
           last = torch::empty({objects, l.h, views, width}, floats),
           scale = torch::empty({objects, l.h, views, views, n}, floats),
           out = torch::empty({images, n, c}, qkv.options());
    Tensor by = factor.value_or(Tensor());
    const void *x = address(qkv), *b = address(bias), *w = address(weights);
    auto s = static_cast<unsigned>(objects);
    launch(qkv, "attend_sums", {l.v, l.h, s, 512}, x, b, factors.data_ptr(), last.data_ptr(), l);
    launch(qkv, "attend_scale", {l.v * l.v, l.h, s, 512}, x, b, address(last), w, scale.data_ptr(),
           static_cast<float>(o.eps), o.select, static_cast<unsigned>(o.count), l);
    launch(qkv, "attend_gather", by_tokens(l, images), x, b, address(factors), w, address(scale),
           address(base.value_or(Tensor())), address(by), out.data_ptr(), l);
    ctx->save_for_backward({qkv, bias, weights, by, factors, last, scale});
    return out;
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &qkv = saved[0], &bias = saved[1], &weights = saved[2], &factor = saved[3], &factors = saved[4],
                 &last = saved[5], &scale = saved[6];
    Tensor g = grads[0].contiguous(), out = torch::empty_like(qkv), weighted = torch::empty_like(scale),
           gfactors = torch::empty_like(factors), glast = torch::empty_like(last);
    Heads l{static_cast<unsigned>(last.size(1)), static_cast<unsigned>(last.size(2)),
            static_cast<unsigned>(qkv.size(1)), static_cast<unsigned>(weights.size(0))};
    const void *x = address(qkv), *b = address(bias), *w = address(weights), *f = address(factor);
    Grid tokens = by_tokens(l, qkv.size(0));
    launch(g, "attend_back_queries", tokens, address(g), x, b, address(factors), address(last), w, address(scale), f,
           out.data_ptr(), weighted.data_ptr(), l);
    launch(g, "attend_back_sums", {l.v, l.h, static_cast<unsigned>(last.size(0)), 512}, address(g), x, b, w,
           address(scale), address(weighted), f, gfactors.data_ptr(), glast.data_ptr(), l);
    launch(g, "attend_back_keys", tokens, x, b, address(gfactors), address(glast), out.data_ptr(), l);

    Tensor gbias, gweights, gbase, gfactor;
    if (ctx->needs_input_grad(1))
      gbias = column_sums(out);
    if (factor.defined()) {
      Tensor sums = weighted.sum({1, 4}); // [S, Vj, Vi]
      if (weights.size(0) == 1)
        sums = sums.sum(0, true);
      gweights = sums / weights.masked_fill(weights == 0, 1) * factor;
      gfactor = sums.sum();
      gbase = g;
    }
    return {out, gbias, gweights, gbase, gfactor, Tensor()};
  }
};

} // namespace

char *mvag_attend(handle *out, handle qkv, handle bias, handle weights, handle base, handle factor, mvag_attention o) {
  return guarded([&] {
    const Tensor &x = as_tensor(qkv), &w = as_tensor(weights);
    Demands want{x.device()};
    want.tensor("qkv", x, {torch::kBFloat16}, {-1, -1, -1});
    int64_t images = x.size(0), n = x.size(1), c = x.size(2) / 3;
    TORCH_CHECK(x.size(2) % (3 * width) == 0, "qkv: have ", x.size(2), " channels, want a multiple of ", 3 * width);
    TORCH_CHECK(n <= most_tokens, "qkv: have ", n, " tokens, want at most ", most_tokens);
    TORCH_CHECK(images < 1 << 16, "qkv: have ", images, " images, want at most ", (1 << 16) - 1);
    want.tensor("bias", as_tensor(bias), {torch::kFloat}, {3 * c});
    int64_t views = w.dim() == 3 ? w.size(1) : -1;
    want.tensor("weights", w, {torch::kFloat}, {-1, views, views});
    TORCH_CHECK(images % views == 0, "qkv: have ", images, " images, want whole objects of ", views, " views");
    TORCH_CHECK(w.size(0) == 1 || w.size(0) == images / views, "weights: have ", w.size(0), " tables, want 1 or ",
                images / views);
    TORCH_CHECK(!base == !factor, "have base or factor alone, want both or neither");
    if (base) {
      want.tensor("base", as_tensor(base), {torch::kBFloat16}, {images, n, c});
      want.tensor("factor", as_tensor(factor), {torch::kFloat}, {});
    }
    TORCH_CHECK(o.select >= 0 && o.select <= 2, "select: have ", o.select, ", want 0, 1 or 2");
    TORCH_CHECK(!o.select || o.count >= 0 && o.count <= n, "count: have ", o.count, ", want 0 to ", n);
    want.cuda();
    auto optional = [](handle h) { return h ? std::optional<Tensor>(as_tensor(h)) : std::nullopt; };
    *out = give(Attend::apply(x, as_tensor(bias), w, optional(base), optional(factor), o));
  });
}
