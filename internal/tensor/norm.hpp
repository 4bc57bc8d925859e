// The end of a branch of a residual stream and LayerNorm before the next branch: one pass over memory each way, by
// kernels of our own, where the stream is float32 and the branches compute in bfloat16 on CUDA.
#include "bridge.h"
#include "check.h"
#include "column_sums.h"
#include "handles.h"
#include "kernels.h"

#include <torch/csrc/autograd/custom_function.h>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// What comes as one of two types is two arguments of a kernel, one of them NULL.
const void *address_if(const Tensor &t, torch::ScalarType type) {
  return t.defined() && t.scalar_type() == type ? address(t) : nullptr;
}

// x [.., C] + y [.., C] + bias [C], and that normalised; without y, x itself.
struct AddNorm : Function<AddNorm> {
  // Arguments that may be undefined are none to LibTorch only as optional.
  static tensor_list forward(AutogradContext *ctx, const Tensor &x, const std::optional<Tensor> &branch,
                             const std::optional<Tensor> &with, const Tensor &gamma, const Tensor &beta, double eps) {
    const Tensor y = branch.value_or(Tensor()), bias = with.value_or(Tensor());
    auto c = static_cast<unsigned>(x.size(-1)), rows = static_cast<unsigned>(x.numel() / c);
    Tensor sum = y.defined() ? torch::empty_like(x) : x, normed = torch::empty_like(x, torch::kBFloat16);
    Tensor mean = torch::empty({rows}, x.options()), rstd = torch::empty_like(mean);
    launch(x, "add_norm", Grid{(rows + 3) / 4, 1, 1, 128}, address(x), address(y), address_if(bias, torch::kFloat),
           address_if(bias, torch::kBFloat16), address(gamma), address(beta), sum.data_ptr(), normed.data_ptr(),
           mean.data_ptr(), rstd.data_ptr(), static_cast<float>(eps), rows, c);
    ctx->save_for_backward({sum, mean, rstd, gamma});
    ctx->saved_data["branch"] = y.defined();
    ctx->saved_data["bias"] = bias.defined() ? static_cast<int64_t>(bias.scalar_type()) : int64_t{-1};
    ctx->set_materialize_grads(false);
    return {sum, normed};
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &sum = saved[0], &mean = saved[1], &rstd = saved[2], &gamma = saved[3];
    auto c = static_cast<unsigned>(sum.size(-1)), rows = static_cast<unsigned>(sum.numel() / c);
    bool branch = ctx->saved_data["branch"].toBool();
    int64_t bias = ctx->saved_data["bias"].toInt();
    Tensor g = grads[1].defined() ? grads[1].contiguous() : torch::zeros_like(sum, torch::kBFloat16);
    Tensor g_sum = grads[0].defined() ? grads[0].contiguous() : Tensor();
    Tensor gx = torch::empty_like(sum), gy = branch ? torch::empty_like(sum, torch::kBFloat16) : Tensor();
    unsigned blocks = std::min(528u, (rows + 1) / 2); // 4 for each multiprocessor of an H100
    Tensor parts = torch::empty({blocks, 3 * static_cast<int64_t>(c)}, sum.options());
    launch(sum, "norm_backward", Grid{blocks, 1, 1, c / 4}, address(g), address(g_sum), address(sum), address(mean),
           address(rstd), address(gamma), gx.data_ptr(), branch ? gy.data_ptr() : nullptr, parts.data_ptr(), rows);
    auto of = sum_parts(parts).chunk(3);
    return {gx, gy, bias < 0 ? Tensor() : of[2].to(static_cast<torch::ScalarType>(bias)), of[0], of[1], Tensor()};
  }
};

} // namespace

char *mvag_add_norm(handle *out, handle x, handle y, handle bias, handle gamma, handle beta, double eps) {
  return guarded([&] {
    const Tensor &stream = as_tensor(x);
    TORCH_CHECK(stream.dim() > 0, "x: have a scalar, want [.., C]");
    int64_t c = stream.size(-1);
    TORCH_CHECK(c % 128 == 0 && c <= 1536, "x: have ", c, " channels, want a multiple of 128 up to 1536");
    Demands want{stream.device()};
    want.tensor("x", stream, {torch::kFloat}, stream.sizes());
    want.tensor("gamma", as_tensor(gamma), {torch::kFloat}, {c});
    want.tensor("beta", as_tensor(beta), {torch::kFloat}, {c});
    if (y)
      want.tensor("y", as_tensor(y), {torch::kBFloat16}, stream.sizes());
    if (bias) {
      TORCH_CHECK(y, "bias: have one without y");
      want.tensor("bias", as_tensor(bias), {torch::kFloat, torch::kBFloat16}, {c});
    }
    want.cuda();
    auto optional = [](handle h) { return h ? std::optional<Tensor>(as_tensor(h)) : std::nullopt; };
    auto both = AddNorm::apply(stream, optional(y), optional(bias), as_tensor(gamma), as_tensor(beta), eps);
    for (int i = 0; i < 2; i++)
      out[i] = give(both[i]);
  });
}
