// Images to the tokens of an encoder that computes in bfloat16: what comes before and after the one matmul that its
// convolution is.
#include "bridge.h"
#include "check.h"
#include "handles.h"
#include "kernels.h"

namespace {

// pixels [B, 3, H, W] of uint8 to [B·P, K], see mvag_patches.
Tensor patches(const Tensor &pixels, const Tensor &mean, const Tensor &std, int64_t side, bool fused) {
  int64_t b = pixels.size(0), rows = pixels.size(2) / side, columns = pixels.size(3) / side, of = 3 * side * side,
          k = (of + 7) / 8 * 8;
  if (!fused) {
    Tensor x = (pixels.to(torch::kFloat) * (1.0 / 255) - mean.reshape({3, 1, 1})) / std.reshape({3, 1, 1});
    x = x.reshape({b, 3, rows, side, columns, side}).permute({0, 2, 4, 1, 3, 5}).reshape({b * rows * columns, of});
    return at::constant_pad_nd(x, {0, k - of}).to(torch::kBFloat16);
  }
  Tensor out = torch::empty({b * rows * columns, k}, pixels.options().dtype(torch::kBFloat16));
  TORCH_CHECK(out.numel() < int64_t{1} << 31, "have ", out.numel(), " elements of patches, want fewer than 2^31");
  auto count = static_cast<unsigned>(out.numel() / 8);
  launch(pixels, "patches", grid_for(count), address(pixels), address(mean), address(std), out.data_ptr(), count,
         static_cast<unsigned>(k), static_cast<unsigned>(side), static_cast<unsigned>(rows),
         static_cast<unsigned>(columns));
  return out;
}

// x [B·P, C] and table [N, C] to [B, N, C], see mvag_place_patches.
Tensor place(const Tensor &x, const Tensor &table, int64_t b, bool fused) {
  int64_t n = table.size(0), c = table.size(1), p = x.size(0) / b;
  if (!fused) {
    Tensor tokens = at::constant_pad_nd(x.to(torch::kFloat).reshape({b, p, c}), {0, 0, n - p, 0});
    return tokens + table;
  }
  Tensor out = torch::empty({b, n, c}, table.options());
  TORCH_CHECK(out.numel() < int64_t{1} << 31, "have ", out.numel(), " elements of tokens, want fewer than 2^31");
  auto count = static_cast<unsigned>(out.numel() / 4);
  launch(x, "place", grid_for(count), address(x), address(table), out.data_ptr(), count, static_cast<unsigned>(n),
         static_cast<unsigned>(p), static_cast<unsigned>(c));
  return out;
}

} // namespace

char *mvag_patches(handle *out, handle pixels, handle mean, handle std, int64_t side, bool fused) {
  return guarded([&] {
    const Tensor &x = as_tensor(pixels);
    Demands want{x.device()};
    want.tensor("pixels", x, {torch::kByte}, {-1, 3, -1, -1});
    want.tensor("mean", as_tensor(mean), {torch::kFloat}, {3});
    want.tensor("std", as_tensor(std), {torch::kFloat}, {3});
    TORCH_CHECK(side > 0 && x.size(2) % side == 0 && x.size(3) % side == 0, "pixels: have ", x.sizes(),
                ", want whole patches of ", side);
    if (fused)
      want.cuda();
    *out = give(patches(x, as_tensor(mean), as_tensor(std), side, fused));
  });
}

char *mvag_place_patches(handle *out, handle x, handle table, int64_t images, bool fused) {
  return guarded([&] {
    const Tensor &t = as_tensor(table), &patches = as_tensor(x);
    Demands want{t.device()};
    want.tensor("table", t, {torch::kFloat}, {-1, -1});
    want.tensor("x", patches, {torch::kBFloat16}, {-1, t.size(1)});
    TORCH_CHECK(images > 0 && patches.size(0) % images == 0 && patches.size(0) / images <= t.size(0), "x: have ",
                patches.size(0), " patches, want as many for each of ", images, " images and at most ", t.size(0));
    if (fused) {
      TORCH_CHECK(t.size(1) % 4 == 0, "table: have ", t.size(1), " channels, want a multiple of 4");
      want.cuda();
    }
    *out = give(place(patches, t, images, fused));
  });
}
