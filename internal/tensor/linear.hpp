// Linear layers: added to a residual in float32, where the composed operations fill the output with the bias, then add;
// and in bfloat16 with weights of float32.
#include "bridge.h"
#include "check.h"
#include "column_sums.h"
#include "handles.h"

#include <torch/csrc/autograd/custom_function.h>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// base [.., O] + x [.., I]·wᵀ [O, I] + b [O].
struct LinearAdd : Function<LinearAdd> {
  static Tensor forward(AutogradContext *ctx, const Tensor &base, const Tensor &x, const Tensor &w, const Tensor &b) {
    ctx->save_for_backward({x, w});
    Tensor out = at::add(base, b).contiguous();
    out.view({-1, w.size(0)}).addmm_(x.reshape({-1, w.size(1)}), w.t());
    return out;
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1];
    Tensor g = grads[0].reshape({-1, w.size(0)}), gx, gw, gb;
    if (ctx->needs_input_grad(1))
      gx = g.mm(w).view(x.sizes());
    if (ctx->needs_input_grad(2))
      gw = g.t().mm(x.reshape({-1, w.size(1)}));
    if (ctx->needs_input_grad(3))
      gb = g.sum(0);
    return {grads[0], gx, gw, gb};
  }
};

// x [.., I]·wᵀ [O, I] + b [O] of bfloat16 on CUDA, and the exact GELU of that where gelu. The gradients of w and b are
// sums in float32 and not rounded on their way.
struct LinearBFloat16 : Function<LinearBFloat16> {
  static Tensor forward(AutogradContext *ctx, const Tensor &x, const Tensor &w, const std::optional<Tensor> &bias,
                        bool gelu) {
    const Tensor b = bias.value_or(Tensor());
    Tensor by = w.to(torch::kBFloat16), out = at::linear(x, by, b.defined() ? b.to(torch::kBFloat16) : b);
    ctx->saved_data["gelu"] = gelu;
    ctx->saved_data["type"] = w.scalar_type();
    if (b.defined())
      ctx->saved_data["bias"] = b.scalar_type();
    if (!gelu) {
      ctx->save_for_backward({x, by});
      return out;
    }
    ctx->save_for_backward({x, by, out});
    return at::gelu(out);
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1];
    Tensor g = grads[0].contiguous(), gx, gw, gb;
    bool bias = ctx->saved_data.count("bias") && ctx->needs_input_grad(2);
    if (ctx->saved_data["gelu"].toBool())
      std::tie(g, gb) = gelu_backward_sums(g, saved[2]);
    else if (bias)
      gb = column_sums(g);
    g = g.view({-1, w.size(0)});
    if (ctx->needs_input_grad(0))
      gx = g.mm(w).view(x.sizes());
    if (ctx->needs_input_grad(1))
      gw = at::mm(g.t(), x.reshape({-1, w.size(1)}), torch::kFloat).to(ctx->saved_data["type"].toScalarType());
    return {gx, gw, bias ? gb.to(ctx->saved_data["bias"].toScalarType()) : Tensor(), Tensor()};
  }
};

} // namespace

char *mvag_linear_bfloat16(handle *out, handle x, handle w, handle b, bool gelu) {
  return guarded([&] {
    const Tensor &in = as_tensor(x), &weight = as_tensor(w);
    TORCH_CHECK(in.dim() > 0, "x: have a scalar, want [.., I]");
    auto shape = in.sizes().vec();
    Demands want{in.device()};
    want.tensor("x", in, {torch::kBFloat16}, shape);
    want.tensor("weight", weight, {torch::kFloat, torch::kBFloat16}, {-1, shape.back()});
    if (b)
      want.tensor("bias", as_tensor(b), {torch::kFloat, torch::kBFloat16}, {weight.size(0)});
    want.cuda();
    *out = give(LinearBFloat16::apply(in, weight, b ? std::optional(as_tensor(b)) : std::nullopt, gelu));
  });
}

char *mvag_linear_add(handle *out, handle base, handle x, handle w, handle b) {
  return guarded([&] { *out = give(LinearAdd::apply(as_tensor(base), as_tensor(x), as_tensor(w), as_tensor(b))); });
}
