// NVIDIA's driver of one card, as far as LibTorch and the program ask it. The
// program's own kernels do run, thread after thread, on the processor.
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <utility>

namespace {

struct Index { unsigned x; } blockIdx, blockDim, threadIdx;
float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }

#define __global__
#define __device__
#define KERNELS(...) __VA_ARGS__
#include "../../internal/tensor/attention.cu.h"

typedef void (*Kernel)(void **args);

template <class... A, size_t... I>
void call(void (*f)(A...), void **args, std::index_sequence<I...>) {
  f(*static_cast<std::remove_reference_t<A> *>(args[I])...);
}
template <auto f> struct Run;
template <class... A, void (*f)(A...)> struct Run<f> {
  static void once(void **args) { call(f, args, std::index_sequence_for<A...>{}); }
};

const std::map<std::string, Kernel> kernels = {
    {"split_float", Run<split_float>::once},
    {"split_bfloat16", Run<split_bfloat16>::once},
    {"split_backward_float", Run<split_backward_float>::once},
    {"split_backward_bfloat16", Run<split_backward_bfloat16>::once},
    {"merge", Run<merge>::once},
    {"merge_backward", Run<merge_backward>::once},
    {"spread_backward", Run<spread_backward>::once},
};

} // namespace

extern "C" {
int mvag_stub_launch(void *stream, const char *name, unsigned blocks, unsigned threads);

int cuGetExportTable(const void **table, const void *) { *table = nullptr; return 500; }
int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return ordinal != 0; }
int cuDeviceGetName(char *name, int n, int) { strncpy(name, "stub", n); return 0; }
int cuDeviceGetAttribute(int *v, int attribute, int) { *v = attribute == 75 ? 9 : 0; return 0; }
int cuDevicePrimaryCtxGetState(int, unsigned *flags, int *active) { *flags = 0, *active = 1; return 0; }
int cuCtxGetCurrent(void **context) { *context = &threadIdx; return 0; }
int cuModuleGetFunction(void **f, void *, const char *name) {
  auto at = kernels.find(name);
  if (at == kernels.end())
    return 500; // CUDA_ERROR_NOT_FOUND
  *f = reinterpret_cast<void *>(at->second);
  return 0;
}
int cuLaunchKernel(void *f, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned, unsigned, unsigned,
                   void *stream, void **args, void **) {
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)
      reinterpret_cast<Kernel>(f)(args);
  return mvag_stub_launch(stream, "our own", blocks, threads);
}
}
