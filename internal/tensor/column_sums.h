// Sums over all dimensions but the last, by our own kernels.
#pragma once
#include "libtorch.h"

// g [.., C] of bfloat16, C a multiple of 8, summed to [C] of float32.
torch::Tensor column_sums(const torch::Tensor &g);

// x [rows, C] of float32, partial sums, summed to [C].
torch::Tensor sum_parts(const torch::Tensor &x);

// The gradient of x where g is that of the exact GELU of x, both [.., C] of bfloat16, and its column_sums.
std::pair<torch::Tensor, torch::Tensor> gelu_backward_sums(const torch::Tensor &g, const torch::Tensor &x);
