// Sums over all dimensions but the last, by kernels of our own where they can.
#pragma once
#include "libtorch.h"

// Whether a kernel that takes 16 bytes at a time can read t on its device.
bool in_words(const torch::Tensor &t);

// g [.., C] of bfloat16, summed to [C] of float32.
torch::Tensor column_sums(const torch::Tensor &g);

// x [rows, C] of float32, summed to [C] by a kernel; for partial sums.
torch::Tensor sum_parts(const torch::Tensor &x);

// The gradient of x where g is that of the exact GELU of x, both [.., C] of
// bfloat16, and its column_sums.
std::pair<torch::Tensor, torch::Tensor> gelu_backward_sums(const torch::Tensor &g, const torch::Tensor &x);
