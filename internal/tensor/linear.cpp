// A linear layer onto a residual: one pass over memory besides the product,
// where the composed operations fill the output with the bias, then add.
#include "bridge.h"
#include "handles.h"

#include <torch/csrc/autograd/custom_function.h>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// base [.., O] + x [.., I]·wᵀ [O, I] + b [O].
struct Onto : Function<Onto> {
  static Tensor forward(AutogradContext *ctx, const Tensor &base,
                        const Tensor &x, const Tensor &w, const Tensor &b) {
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

} // namespace

char *mvag_linear_onto(handle *out, handle base, handle x, handle w, handle b) {
  return guarded([&] {
    *out = give(Onto::apply(as_tensor(base), as_tensor(x), as_tensor(w),
                            as_tensor(b)));
  });
}
