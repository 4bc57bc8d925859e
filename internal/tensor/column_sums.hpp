#include "column_sums.h"
#include "check.h"
#include "kernels.h"

using torch::Tensor;

namespace {

void check_columns(const char *name, const Tensor &t, at::IntArrayRef shape) {
  Demands{t.device()}.tensor(name, t, {torch::kBFloat16}, shape);
  TORCH_CHECK(t.size(-1) % 8 == 0, name, ": have ", t.size(-1), " columns, want a multiple of 8");
}

// Some 4 blocks for each of the 132 multiprocessors of an H100, in which each of the 8 warps has four rows at least.
Grid blocks(int64_t rows, int64_t columns) {
  int64_t x = (columns + 255) / 256, y = std::min((528 + x - 1) / x, (rows + 31) / 32);
  return {static_cast<unsigned>(x), static_cast<unsigned>(y)};
}

} // namespace

Tensor sum_parts(const Tensor &x) {
  auto rows = static_cast<unsigned>(x.size(0)), columns = static_cast<unsigned>(x.size(1));
  Tensor out = torch::empty({x.size(1)}, x.options());
  launch(x, "sum_rows", Grid{(columns + 31) / 32, 1, 1, 1024}, address(x), out.data_ptr(), rows, columns);
  return out;
}

Tensor column_sums(const Tensor &g) {
  check_columns("gradient", g, g.sizes());
  int64_t columns = g.size(-1), rows = g.numel() / columns;
  Grid grid = blocks(rows, columns);
  Tensor parts = torch::empty({grid.y, columns}, g.options().dtype(torch::kFloat));
  launch(g, "column_parts", grid, address(g), parts.data_ptr(), static_cast<unsigned>(rows),
         static_cast<unsigned>(columns));
  return sum_parts(parts);
}

std::pair<Tensor, Tensor> gelu_backward_sums(const Tensor &g, const Tensor &x) {
  check_columns("gradient", g, x.sizes());
  check_columns("input", x, x.sizes());
  int64_t columns = g.size(-1), rows = g.numel() / columns;
  Grid grid = blocks(rows, columns);
  Tensor parts = torch::empty({grid.y, columns}, g.options().dtype(torch::kFloat)), out = torch::empty_like(g);
  launch(g, "gelu_backward_parts", grid, address(g), address(x), out.data_ptr(), parts.data_ptr(),
         static_cast<unsigned>(rows), static_cast<unsigned>(columns));
  return {out, sum_parts(parts)};
}
