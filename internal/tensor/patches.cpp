// Pictures to the tokens of an encoder that computes in bfloat16: what comes before
// and after the one matrix product that its convolution is.
#include "bridge.h"
#include "columns.h"
#include "handles.h"
#include "kernels.h"

namespace {

// pixels [B, 3, H, W] of uint8 to [B·P, K], see mvag_patches.
Tensor patches(const Tensor &pixels, const Tensor &means, const Tensor &deviations, int64_t side) {
  int64_t b = pixels.size(0), rows = pixels.size(2) / side, columns = pixels.size(3) / side, of = 3 * side * side, k = (of + 7) / 8 * 8;
  bool fits = pixels.scalar_type() == torch::kByte && pixels.is_contiguous() && pixels.size(1) == 3 && b * rows * columns * k < int64_t{1} << 31 &&
              means.is_contiguous() && deviations.is_contiguous() && have_kernels(pixels);
  if (!fits) {
    Tensor x = (pixels.to(torch::kFloat) * (1.0 / 255) - means.reshape({3, 1, 1})) / deviations.reshape({3, 1, 1});
    x = x.reshape({b, 3, rows, side, columns, side}).permute({0, 2, 4, 1, 3, 5}).reshape({b * rows * columns, of});
    return at::constant_pad_nd(x, {0, k - of}).to(torch::kBFloat16);
  }
  Tensor out = torch::empty({b * rows * columns, k}, pixels.options().dtype(torch::kBFloat16));
  auto count = static_cast<unsigned>(out.numel() / 8);
  launch(pixels, "patches", grid_for(count), address(pixels), address(means), address(deviations), out.data_ptr(), count, static_cast<unsigned>(k),
         static_cast<unsigned>(side), static_cast<unsigned>(rows), static_cast<unsigned>(columns));
  return out;
}

// x [B·P, C] and table [N, C] to [B, N, C], see mvag_place_patches.
Tensor place(const Tensor &x, const Tensor &table, int64_t b) {
  int64_t n = table.size(0), c = table.size(1), p = x.size(0) / b;
  bool fits = x.scalar_type() == torch::kBFloat16 && table.scalar_type() == torch::kFloat && c % 4 == 0 && b * n * c < int64_t{1} << 31 &&
              in_words(x) && in_words(table);
  if (!fits) {
    Tensor tokens = at::constant_pad_nd(x.to(torch::kFloat).reshape({b, p, c}), {0, 0, n - p, 0});
    return tokens + table;
  }
  Tensor out = torch::empty({b, n, c}, table.options());
  auto count = static_cast<unsigned>(out.numel() / 4);
  launch(x, "place", grid_for(count), address(x), address(table), out.data_ptr(), count, static_cast<unsigned>(n), static_cast<unsigned>(p),
         static_cast<unsigned>(c));
  return out;
}

} // namespace

char *mvag_patches(handle *out, handle pixels, handle means, handle deviations, int64_t side) {
  return guarded([&] { *out = give(patches(as_tensor(pixels), as_tensor(means), as_tensor(deviations), side)); });
}

char *mvag_place_patches(handle *out, handle x, handle table, int64_t pictures) {
  return guarded([&] { *out = give(place(as_tensor(x), as_tensor(table), pictures)); });
}
