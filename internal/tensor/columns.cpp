#include "columns.h"
#include "kernels.h"

using torch::Tensor;

namespace {

bool by_kernel(const Tensor &g) {
  return g.scalar_type() == torch::kBFloat16 && g.dim() > 1 && g.size(-1) % 8 == 0 && in_words(g);
}

// Some 4 blocks for each of the 132 multiprocessors of an H100, in which each of
// the 8 warps has four rows at least.
Grid blocks(int64_t rows, int64_t columns) {
  int64_t x = (columns + 255) / 256, y = std::min((528 + x - 1) / x, (rows + 31) / 32);
  return {static_cast<unsigned>(x), static_cast<unsigned>(y)};
}

} // namespace

bool in_words(const Tensor &t) {
  return t.is_contiguous() && t.numel() > 0 && t.numel() < int64_t{1} << 31 &&
         reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0 && have_kernels(t);
}

Tensor sum_parts(const Tensor &x) {
  auto rows = static_cast<unsigned>(x.size(0)), columns = static_cast<unsigned>(x.size(1));
  Tensor out = torch::empty({x.size(1)}, x.options());
  launch(x, "sum_rows", Grid{(columns + 31) / 32, 1, 1, 1024}, address(x), out.data_ptr(), rows, columns);
  return out;
}

Tensor column_sums(const Tensor &g) {
  if (!by_kernel(g))
    return g.reshape({-1, g.size(-1)}).sum(0, /*keepdim=*/false, torch::kFloat);
  int64_t columns = g.size(-1), rows = g.numel() / columns;
  Grid grid = blocks(rows, columns);
  Tensor parts = torch::empty({grid.y, columns}, g.options().dtype(torch::kFloat));
  launch(g, "column_parts", grid, address(g), parts.data_ptr(), static_cast<unsigned>(rows), static_cast<unsigned>(columns));
  return sum_parts(parts);
}

std::pair<Tensor, Tensor> gelu_backward_sums(const Tensor &g, const Tensor &x) {
  if (!by_kernel(g) || !by_kernel(x)) {
    Tensor out = at::gelu_backward(g, x);
    return {out, column_sums(out)};
  }
  int64_t columns = g.size(-1), rows = g.numel() / columns;
  Grid grid = blocks(rows, columns);
  Tensor parts = torch::empty({grid.y, columns}, g.options().dtype(torch::kFloat)), out = torch::empty_like(g);
  launch(g, "gelu_backward_parts", grid, address(g), address(x), out.data_ptr(), parts.data_ptr(), static_cast<unsigned>(rows),
         static_cast<unsigned>(columns));
  return {out, sum_parts(parts)};
}
