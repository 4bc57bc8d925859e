// NVIDIA's driver of one GPU, as far as LibTorch and the program ask it. The program's own kernels do run, on the CPU,
// unless MVAG_STUB_IDLE is set.
#include <cstdlib>

#include "threads.h"

namespace {

#include "../../internal/tensor/elements.cu"
#include "../../internal/tensor/heads.cu"
#include "../../internal/tensor/attend.cu"
#include "../../internal/tensor/column_sums.cu"
#include "../../internal/tensor/norm.cu"
#include "../../internal/tensor/block_sum.cu"
#include "../../internal/tensor/tables.h"
#include "../../internal/tensor/adamw.cu"
#include "../../internal/tensor/losses.cu"
#include "../../internal/tensor/patches.cu"
#include "../../internal/tensor/philox.h"
#include "../../internal/tensor/random.cu"

typedef void (*Kernel)(void **args);

template <class... A, size_t... I> void call(void (*f)(A...), void **args, std::index_sequence<I...>) {
  f(*static_cast<std::remove_reference_t<A> *>(args[I])...);
}
template <auto f> struct Run;
template <class... A, void (*f)(A...)> struct Run<f> {
  static void once(void **args) { call(f, args, std::index_sequence_for<A...>{}); }
};

struct Entry {
  Kernel run;
  bool together; // its threads wait for each other
};
#define KERNEL(name)                                                                                                   \
  std::pair<const std::string, Entry> {                                                                                \
    #name, { Run<name>::once, false }                                                                                  \
  }
#define TOGETHER(name)                                                                                                 \
  std::pair<const std::string, Entry> {                                                                                \
    #name, { Run<name>::once, true }                                                                                   \
  }
const std::map<std::string, Entry> kernels = {
    KERNEL(split_float),
    KERNEL(split_bfloat16),
    KERNEL(split_backward_float),
    KERNEL(split_backward_bfloat16),
    KERNEL(merge),
    KERNEL(merge_backward),
    KERNEL(spread_backward),
    TOGETHER(attend_sums),
    TOGETHER(attend_scale),
    TOGETHER(attend_gather),
    TOGETHER(attend_back_queries),
    TOGETHER(attend_back_sums),
    TOGETHER(attend_back_keys),
    KERNEL(patches),
    KERNEL(place),
    TOGETHER(sum_rows),
    TOGETHER(column_parts),
    TOGETHER(gelu_backward_parts),
    TOGETHER(add_norm),
    TOGETHER(norm_backward),
    TOGETHER(adamw_squares),
    TOGETHER(adamw_clip),
    TOGETHER(adamw_moments),
    TOGETHER(adamw_move),
    KERNEL(means),
    TOGETHER(group_products),
    TOGETHER(ranked),
    TOGETHER(group_images),
    TOGETHER(group_losses),
    KERNEL(group_backward),
    KERNEL(dropout_float),
    KERNEL(dropout_bfloat16),
    KERNEL(normal),
};

} // namespace

extern "C" {
int mvag_stub_launch(void *stream, const char *name, unsigned blocks, unsigned threads);

int cuGetExportTable(const void **table, const void *) {
  *table = nullptr;
  return 500;
}
int cuDriverGetVersion(int *v) {
  *v = 13000;
  return 0;
}
int cuDeviceGet(int *device, int ordinal) {
  *device = 0;
  return ordinal != 0;
}
int cuDeviceGetName(char *name, int n, int) {
  strncpy(name, "stub", n);
  return 0;
}
int cuDeviceGetAttribute(int *v, int attribute, int) {
  *v = attribute == 75 ? 9 : 0;
  return 0;
}
int cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active) {
  *flags = 0, *active = 1;
  return 0;
}
int cuCtxGetCurrent(void **context) {
  *context = &threadIdx;
  return 0;
}
int cuModuleGetFunction(void **f, void *, const char *name) {
  auto at = kernels.find(name);
  if (at == kernels.end())
    return 500; // CUDA_ERROR_NOT_FOUND
  *f = const_cast<Entry *>(&at->second);
  return 0;
}
int cuLaunchKernel(void *f, unsigned x, unsigned y, unsigned z, unsigned n, unsigned, unsigned, unsigned, void *stream,
                   void **args, void **) {
  auto *kernel = static_cast<const Entry *>(f);
  if (!getenv("MVAG_STUB_IDLE"))
    threads::run(kernel->run, args, {x, y, z}, n, kernel->together);
  return mvag_stub_launch(stream, "our own", x * y * z, n);
}
}
