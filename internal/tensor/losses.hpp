// Means over tensors, and the losses of a group of layers (see losses.go), in few passes over memory: kernels of our
// own for float32 on CUDA (losses.cu).
#include "bridge.h"
#include "check.h"
#include "handles.h"
#include "kernels.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include <torch/csrc/autograd/custom_function.h>

namespace {

#include "tables.h"

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

std::vector<Tensor> tensors(handle *of, int n) {
  std::vector<Tensor> all;
  for (int i = 0; i < n; i++)
    all.push_back(as_tensor(of[i]));
  return all;
}

// What the kernels demand of members: as many as a table takes, of one shape.
void check_members(at::TensorList all) {
  constexpr size_t most = std::size(Members{}.of);
  TORCH_CHECK(!all.empty() && all.size() <= most, "have ", all.size(), " tensors, want 1 to ", most);
  Demands want{all[0].device()};
  for (const Tensor &t : all)
    want.tensor("member", t, {torch::kFloat}, all[0].sizes());
}

Members members_of(at::TensorList all) {
  Members m{};
  for (const Tensor &t : all)
    m.of[m.count++] = t.const_data_ptr<float>();
  return m;
}

Group group_of(const Tensor &member, const Tensor &target, int64_t all) {
  auto number = [](int64_t n) { return static_cast<unsigned>(n); };
  return {number(member.size(0)), number(member.size(1)),   number(target.size(1)),
          number(member.size(2)), number(target.stride(0)), number(all)};
}
// A warp for each of count rows.
Grid warps(unsigned count) { return {(count + 7) / 8}; }

// The target may be a slice of tokens: an image begins any multiple of four elements after the one before.
void check_group(at::TensorList members, const Tensor &target, int64_t hard, int64_t all) {
  check_members(members);
  const Tensor &m = members[0];
  TORCH_CHECK(m.dim() == 3 && m.size(2) % 4 == 0, "member: have shape ", m.sizes(),
              ", want [B, N, C], C a multiple of 4");
  int64_t c = m.size(2);
  Demands want{m.device()};
  want.shaped("target", target, {torch::kFloat}, {m.size(0), -1, c});
  want.aligned("target", target);
  TORCH_CHECK(target.size(1) <= m.size(1), "target: have ", target.size(1), " patches, want at most ", m.size(1));
  TORCH_CHECK(target.stride(2) == 1 && target.stride(1) == c && target.stride(0) % 4 == 0 &&
                  target.size(0) * target.stride(0) < 1LL << 31,
              "target: have strides ", target.strides(), ", want [4n, ", c, ", 1]");
  TORCH_CHECK(all >= target.size(0), "images of all ranks: have ", all, ", want at least ", target.size(0));
  TORCH_CHECK(hard > 0 && hard <= all * target.size(1), "hard: have ", hard, " patches, want 1 to ",
              all * target.size(1));
  want.cuda();
}

// The losses of one group (docs/model.md section 4): global, regional, and tau. With ranks they are this rank's share
// of those of all images of the batch, and tau is of the distances of all ranks.
struct GroupLosses : Function<GroupLosses> {
  static tensor_list forward(AutogradContext *ctx, at::TensorList members, const Tensor &target, int64_t hard,
                             double easy, int64_t all, void *ranks) {
    const Tensor &like = members[0];
    Group g = group_of(like, target, all);
    unsigned rows = g.images * g.patches;
    float share = static_cast<float>(1.0 / members.size());
    Tensor mean = torch::empty({g.images, g.patches, g.c}, like.options());
    Tensor products = torch::empty({4, g.images, g.patches}, like.options());
    Tensor sums = torch::empty({g.images, 4}, like.options());
    Tensor global = torch::empty({}, like.options()), regional = torch::empty_like(global),
           tau = torch::empty_like(global);
    launch(like, "group_products", warps(rows), members_of(members), address(target), mean.data_ptr(),
           products.data_ptr(), g, share);
    Tensor distances = ranks ? gather_ranks(ranks, products[3]) : products[3];
    auto n = static_cast<unsigned>(distances.numel());
    launch(like, "ranked", Grid{1, 1, 1, std::min(1024u, (n + 31) / 32 * 32)}, address(distances), n,
           static_cast<unsigned>(n - hard), tau.data_ptr());
    launch(like, "group_images", Grid{g.images}, address(products), address(tau), sums.data_ptr(), g);
    launch(like, "group_losses", Grid{1, 1, 1, 32}, address(sums), global.data_ptr(), regional.data_ptr(), g);
    ctx->save_for_backward({target, mean, products, sums, tau});
    ctx->saved_data["members"] = static_cast<int64_t>(members.size());
    ctx->saved_data["tokens"] = like.size(1);
    ctx->saved_data["easy"] = easy;
    ctx->saved_data["all"] = all;
    ctx->mark_non_differentiable({tau});
    ctx->set_materialize_grads(false);
    return {global, regional, tau};
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &target = saved[0], &mean = saved[1];
    int64_t members = ctx->saved_data["members"].toInt();
    Tensor out = torch::empty({mean.size(0), ctx->saved_data["tokens"].toInt(), mean.size(2)}, mean.options());
    Group g = group_of(out, target, ctx->saved_data["all"].toInt());
    launch(out, "group_backward", warps(g.images * g.tokens), address(target), address(mean), address(saved[2]),
           address(saved[3]), address(saved[4]), address(grads[0]), address(grads[1]), out.data_ptr(), g,
           static_cast<float>(1.0 / members), static_cast<float>(ctx->saved_data["easy"].toDouble()));
    tensor_list of(members, out); // a member's gradient is any other's
    of.resize(members + 5);
    return of;
  }
};

// Means of members, up to four in a launch. The bits of masks[k] say which members mean k is of.
struct MeansOf : Function<MeansOf> {
  static tensor_list forward(AutogradContext *ctx, at::TensorList members, std::vector<int64_t> masks) {
    tensor_list out;
    constexpr size_t most = std::size(Means{}.to);
    for (size_t from = 0; from < masks.size(); from += most) {
      Members table = members_of(members);
      Means to{};
      for (size_t k = 0; k < most && from + k < masks.size(); k++) {
        for (size_t i = 0; i < members.size(); i++)
          table.means[i] |= (masks[from + k] >> i & 1) << k;
        out.push_back(torch::empty_like(members[0]));
        to.to[k] = out.back().data_ptr<float>();
        to.share[k] = static_cast<float>(1.0 / __builtin_popcountll(masks[from + k]));
      }
      unsigned fours = static_cast<unsigned>(members[0].numel() / 4);
      launch(members[0], "means", grid_for(fours), table, to, fours);
    }
    ctx->saved_data["members"] = static_cast<int64_t>(members.size());
    ctx->saved_data["masks"] = masks;
    ctx->set_materialize_grads(false);
    return out;
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    tensor_list all(ctx->saved_data["members"].toInt());
    auto masks = ctx->saved_data["masks"].toIntVector();
    for (size_t k = 0; k < masks.size(); k++) {
      if (!grads[k].defined())
        continue;
      Tensor g = grads[k] * (1.0 / __builtin_popcountll(masks[k]));
      for (size_t i = 0; i < all.size(); i++)
        if (masks[k] >> i & 1)
          all[i] = all[i].defined() ? all[i] + g : g;
    }
    all.emplace_back();
    return all;
  }
};

} // namespace

char *mvag_means(handle *out, const int64_t *masks, int means, handle *xs, int n) {
  return guarded([&] {
    auto all = tensors(xs, n);
    check_members(all);
    TORCH_CHECK(all[0].numel() % 4 == 0, "member: have ", all[0].numel(), " elements, want a multiple of 4");
    for (int k = 0; k < means; k++)
      TORCH_CHECK(masks[k] > 0 && masks[k] >> n == 0, "mean ", k, ": have members ", masks[k], ", want some of ", n);
    Demands{all[0].device()}.cuda();
    at::TensorList list = all;
    auto made = MeansOf::apply(list, std::vector<int64_t>(masks, masks + means));
    for (int k = 0; k < means; k++)
      out[k] = give(made[k]);
  });
}

char *mvag_group_losses(handle *out, handle *members, int n, handle target, int64_t hard, double easy, int64_t all,
                        void *ranks) {
  return guarded([&] {
    auto of = tensors(members, n);
    check_group(of, as_tensor(target), hard, all);
    at::TensorList list = of;
    auto losses = GroupLosses::apply(list, as_tensor(target), hard, easy, all, ranks);
    for (int i = 0; i < 3; i++)
      out[i] = give(losses[i]);
  });
}
