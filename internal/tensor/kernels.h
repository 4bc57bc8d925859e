// Kernels for CUDA that are compiled at run time (kernels.cpp).
#pragma once
#include <torch/torch.h>

// Whether the kernels of attention.cu.h can run on t's device. The first call for
// a device compiles them; where that fails, a warning says why, once.
bool have_kernels(const torch::Tensor &t);

// Launches a kernel with a thread for each of count elements, on the stream in
// use. args are pointers to its arguments.
void launch_kernel(const torch::Tensor &on, const char *name, int64_t count, void **args);
