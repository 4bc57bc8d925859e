// CUDA kernels of our own, compiled at run time (kernels.cpp). They are in the files .cu.h, as the argument of KERNELS;
// what that makes of it is up to who includes them: text, functions for a test without a GPU, or types that both sides
// share.
#pragma once
#include "libtorch.h"

// The blocks of a launch and the threads of each.
struct Grid {
  unsigned x, y = 1, z = 1, threads = 256;
};
// A thread for each of count elements.
inline Grid grid_for(int64_t count) { return {static_cast<unsigned>((count + 255) / 256)}; }

// Launches a kernel on the stream in use; compiles the kernels for the device first, if need be. args are pointers to
// its arguments.
void launch_kernel(const torch::Tensor &on, const char *name, Grid grid, void **args);

// A kernel's argument: the address of a tensor's elements, or NULL for no tensor.
inline const void *address(const torch::Tensor &t) { return t.defined() ? t.const_data_ptr() : nullptr; }

// Launches a kernel with arguments of exactly the types that it declares.
template <class... Args> void launch(const torch::Tensor &on, const char *name, Grid grid, Args... args) {
  void *all[] = {&args...};
  launch_kernel(on, name, grid, all);
}
