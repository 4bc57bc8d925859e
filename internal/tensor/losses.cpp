// Means over tensors, and the losses of a group of layers (see losses.go), in few
// passes over memory: kernels of our own for float32 on CUDA (losses.cu.h). For
// everything else, callers compose them of LibTorch's operations.
#include "bridge.h"
#include "handles.h"
#include "kernels.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include <torch/csrc/autograd/custom_function.h>

#define KERNELS(...) __VA_ARGS__
namespace {

#include "tables.cu.h"

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// Whether rows of t can be read by 16 bytes, and numbered by 32 bits.
bool by_four(const Tensor &t) {
  return t.is_cuda() && t.scalar_type() == torch::kFloat && t.numel() > 0 && t.numel() < 1LL << 31 &&
         reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0;
}

std::vector<Tensor> tensors(handle *of, int n) {
  std::vector<Tensor> all;
  for (int i = 0; i < n; i++)
    all.push_back(as_tensor(of[i]));
  return all;
}

// Whether these are contiguous tensors of one shape on one device, and no more than
// a table holds.
bool alike(at::TensorList all) {
  auto fits = [&](const Tensor &t) {
    return by_four(t) && t.is_contiguous() && t.sizes() == all[0].sizes() && t.device() == all[0].device();
  };
  return !all.empty() && all.size() <= std::size(Members{}.of) && std::all_of(all.begin(), all.end(), fits);
}

Members members_of(at::TensorList all) {
  Members m{};
  for (const Tensor &t : all)
    m.of[m.count++] = t.const_data_ptr<float>();
  return m;
}

Group group_of(const Tensor &member, const Tensor &target) {
  auto number = [](int64_t n) { return static_cast<unsigned>(n); };
  return {number(member.size(0)), number(member.size(1)), number(target.size(1)), number(member.size(2)), number(target.stride(0))};
}
// A warp for each of count rows.
Grid warps(unsigned count) { return {(count + 7) / 8}; }

bool for_kernels(at::TensorList members, const Tensor &target) {
  if (!alike(members) || !by_four(target) || members[0].dim() != 3 || target.dim() != 3)
    return false;
  const Tensor &m = members[0];
  int64_t c = m.size(2), reach = target.size(0) * target.stride(0);
  return c % 4 == 0 && target.size(0) == m.size(0) && target.size(1) <= m.size(1) && target.size(2) == c &&
         target.stride(2) == 1 && target.stride(1) == c && target.stride(0) % 4 == 0 && reach < 1LL << 31 &&
         target.device() == m.device() && have_kernels(m);
}

// The losses of one group (model.md section 4): global, regional, and tau.
struct GroupLosses : Function<GroupLosses> {
  static tensor_list forward(AutogradContext *ctx, at::TensorList members, const Tensor &target, int64_t hard, double easy) {
    const Tensor &like = members[0];
    Group g = group_of(like, target);
    unsigned rows = g.pictures * g.patches;
    float share = static_cast<float>(1.0 / members.size());
    Tensor mean = torch::empty({g.pictures, g.patches, g.c}, like.options());
    Tensor products = torch::empty({4, g.pictures, g.patches}, like.options());
    Tensor sums = torch::empty({g.pictures, 4}, like.options());
    Tensor global = torch::empty({}, like.options()), regional = torch::empty_like(global), tau = torch::empty_like(global);
    launch(like, "group_products", warps(rows), members_of(members), address(target), mean.data_ptr(), products.data_ptr(), g, share);
    launch(like, "ranked", Grid{1, 1, 1, std::min(1024u, (rows + 31) / 32 * 32)}, address(products[3]), rows, static_cast<unsigned>(rows - hard), tau.data_ptr());
    launch(like, "group_pictures", Grid{g.pictures}, address(products), address(tau), sums.data_ptr(), g);
    launch(like, "group_losses", Grid{1, 1, 1, 32}, address(sums), global.data_ptr(), regional.data_ptr(), g);
    ctx->save_for_backward({target, mean, products, sums, tau});
    ctx->saved_data["members"] = static_cast<int64_t>(members.size());
    ctx->saved_data["tokens"] = like.size(1);
    ctx->saved_data["easy"] = easy;
    ctx->mark_non_differentiable({tau});
    ctx->set_materialize_grads(false);
    return {global, regional, tau};
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &target = saved[0], &mean = saved[1];
    int64_t members = ctx->saved_data["members"].toInt();
    Tensor out = torch::empty({mean.size(0), ctx->saved_data["tokens"].toInt(), mean.size(2)}, mean.options());
    Group g = group_of(out, target);
    launch(out, "group_backward", warps(g.pictures * g.tokens), address(target), address(mean), address(saved[2]), address(saved[3]),
           address(saved[4]), address(grads[0]), address(grads[1]), out.data_ptr(), g, static_cast<float>(1.0 / members),
           static_cast<float>(ctx->saved_data["easy"].toDouble()));
    tensor_list all(members, out); // a member's gradient is any other's
    all.resize(members + 3);
    return all;
  }
};

} // namespace

char *mvag_means(handle *out, int means, handle *xs, const unsigned *in, int n) {
  return guarded([&] {
    auto all = tensors(xs, n);
    bool differentiable = at::GradMode::is_enabled() && std::any_of(all.begin(), all.end(), [](const Tensor &t) { return t.requires_grad(); });
    Means to{};
    if (differentiable || means > static_cast<int>(std::size(to.to)) || !alike(all) || all[0].numel() % 4 || !have_kernels(all[0]))
      return;
    Members table = members_of(all);
    unsigned count[std::size(to.to)] = {};
    for (int i = 0; i < n; i++) {
      table.means[i] = in[i];
      for (int k = 0; k < means; k++)
        count[k] += in[i] >> k & 1;
    }
    for (int k = 0; k < means; k++) {
      Tensor mean = torch::empty_like(all[0]);
      to.to[k] = mean.data_ptr<float>();
      to.share[k] = static_cast<float>(1.0 / count[k]);
      out[k] = give(mean);
    }
    unsigned fours = static_cast<unsigned>(all[0].numel() / 4);
    launch(all[0], "means", grid_for(fours), table, to, fours);
  });
}

char *mvag_group_losses(handle *out, handle *members, int n, handle target, int64_t hard, double easy) {
  return guarded([&] {
    auto all = tensors(members, n);
    if (!for_kernels(all, as_tensor(target)))
      return;
    at::TensorList list = all;
    auto losses = GroupLosses::apply(list, as_tensor(target), hard, easy);
    for (int i = 0; i < 3; i++)
      out[i] = give(losses[i]);
  });
}
