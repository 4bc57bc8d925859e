// Launches of our own CUDA kernels, which are in the .cu files and compiled at run time (compile.go, kernels.hpp).
#pragma once
#include "libtorch.h"

// The blocks of a launch and the threads of each.
struct Grid {
  unsigned x, y = 1, z = 1, threads = 256;
};
// A thread for each of count elements.
inline Grid grid_for(int64_t count) { return {static_cast<unsigned>((count + 255) / 256)}; }

// Launches a kernel of the device of on, on the stream in use. args are pointers to its arguments.
void launch_kernel(const torch::Tensor &on, const char *name, Grid grid, void **args);

// A kernel's argument: the address of a tensor's elements, or NULL for no tensor.
inline const void *address(const torch::Tensor &t) { return t.defined() ? t.const_data_ptr() : nullptr; }

// Launches a kernel with arguments of exactly the types that it declares.
template <class... Args> void launch(const torch::Tensor &on, const char *name, Grid grid, Args... args) {
  void *all[] = {&args...};
  launch_kernel(on, name, grid, all);
}
