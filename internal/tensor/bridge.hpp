#include "bridge.h"
#include "handles.h"
#include "libtorch.h"

#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <malloc.h>
#include <string>

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/cuda.h>
#include <torch/script.h>
#include <torch/version.h>

#include "_cgo_export.h"

namespace {

// Identity forward; backward multiplies the gradient by factor.
struct ScaleGrad : torch::autograd::Function<ScaleGrad> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, const Tensor &x, const Tensor &factor) {
    ctx->save_for_backward({factor});
    return x.view_as(x);
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext *ctx,
                                               torch::autograd::tensor_list grad) {
    return {grad[0] * ctx->get_saved_variables()[0], Tensor()};
  }
};

} // namespace

Tensor host_copy(const void *data, size_t bytes, const int64_t *sizes, int ndim, int dtype, bool pinned) {
  auto t = torch::empty(at::IntArrayRef(sizes, ndim),
                        torch::dtype(static_cast<at::ScalarType>(dtype)).pinned_memory(pinned));
  TORCH_CHECK(t.nbytes() == bytes, "have ", bytes, " bytes, want ", t.nbytes(), " for shape ", t.sizes());
  if (bytes > 0)
    std::memcpy(t.data_ptr(), data, bytes);
  return t;
}

void mvag_free_all(handle *slots, size_t n) {
  for (size_t i = 0; i < n; i++)
    delete static_cast<Tensor *>(slots[i]);
}

int mvag_sizes(handle t, int64_t *sizes, int capacity) {
  auto shape = as_tensor(t).sizes();
  int n = static_cast<int>(shape.size());
  for (int i = 0; i < n && i < capacity; i++)
    sizes[i] = shape[i];
  return n;
}

int mvag_device(handle t) {
  auto device = as_tensor(t).device();
  return device.is_cuda() ? device.index() : -1;
}

char *mvag_from_data(handle *out, const void *data, size_t bytes, const int64_t *sizes, int ndim, int dtype,
                     int device) {
  return guarded([&] {
    // From pinned memory the copy to the device goes on beside what follows; LibTorch keeps that memory until it is
    // over.
    auto t = host_copy(data, bytes, sizes, ndim, dtype, device >= 0);
    *out = give(device < 0 ? t : t.to(as_device(device), /*non_blocking=*/true));
  });
}

char *mvag_to_host(handle t, void *data, size_t bytes) {
  return guarded([&] {
    auto host = as_tensor(t).detach().to(torch::kCPU).contiguous();
    TORCH_CHECK(host.nbytes() == bytes, "have ", host.nbytes(), " bytes, want ", bytes);
    if (bytes > 0)
      std::memcpy(data, host.data_ptr(), bytes);
  });
}

char *mvag_item(handle t, double *out) {
  return guarded([&] { *out = as_tensor(t).item().toDouble(); });
}

// Activations are freed and asked for again in every step. With glibc's defaults each is a fresh mapping whose pages
// fault one by one; kept on the heap they are reused; on the main heap, since the others end at 64 MB each.
void mvag_keep_memory(void) {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

char *mvag_conv2d_exact(handle *out, handle x, handle w, int64_t padding) {
  return guarded([&] {
    at::NoTF32Guard exact; // where LibTorch convolves by matmul
    const auto &c = at::globalContext();
    int64_t p[] = {padding, padding};
    *out = give(at::_convolution(as_tensor(x), as_tensor(w), {}, {1, 1}, p, {1, 1}, /*transposed=*/false, {0, 0},
                                 /*groups=*/1, c.benchmarkCuDNN(),
                                 c.deterministicCuDNN() || c.deterministicAlgorithms(), c.userEnabledCuDNN(),
                                 /*allow_tf32=*/false));
  });
}

char *mvag_gelu(handle *out, handle x) {
  return guarded([&] { *out = give(at::gelu(as_tensor(x))); });
}

bool mvag_set_grad_mode(bool enabled) {
  bool before = at::GradMode::is_enabled();
  at::GradMode::set_enabled(enabled);
  return before;
}

char *mvag_require_grad(handle t) {
  return guarded([&] { as_tensor(t).set_requires_grad(true); });
}

char *mvag_grad(handle *out, handle t) {
  return guarded([&] {
    const Tensor &grad = as_tensor(t).grad();
    *out = grad.defined() ? give(grad) : nullptr;
  });
}

char *mvag_clear_grads(handle *params, int n) {
  return guarded([&] {
    for (int i = 0; i < n; i++)
      as_tensor(params[i]).mutable_grad() = Tensor();
  });
}

char *mvag_backward(handle x, handle grad) {
  return guarded([&] { as_tensor(x).backward(grad ? as_tensor(grad) : Tensor()); });
}

char *mvag_scale_grad(handle *out, handle x, handle factor) {
  return guarded([&] { *out = give(ScaleGrad::apply(as_tensor(x), as_tensor(factor))); });
}

char *mvag_set_matmul_precision(const char *precision) {
  return guarded([&] {
    at::globalContext().setFloat32MatmulPrecision(precision);
    at::globalContext().setAllowTF32CuDNN(std::strcmp(precision, "highest") != 0);
  });
}

void mvag_seed(int64_t seed) { torch::manual_seed(seed); }

void mvag_set_threads(int n) { at::set_num_threads(n); }
int mvag_threads(void) { return at::get_num_threads(); }
const char *mvag_cpu_capability(void) {
  static const std::string text = at::get_cpu_capability();
  return text.c_str();
}

bool mvag_set_deterministic(bool on) {
  auto &context = at::globalContext();
  bool before = context.deterministicAlgorithms();
  context.setDeterministicAlgorithms(on, false); // errors, no warnings
  context.setDeterministicCuDNN(on);
  context.setBenchmarkCuDNN(false);
  return before;
}

const char *mvag_header_version(void) { return TORCH_VERSION; }

// The file that the running process took libtorch_cpu.so from.
const char *mvag_library_path(void) {
  static std::string path;
  Dl_info info;
  if (dladdr(reinterpret_cast<void *>(&at::get_num_threads), &info))
    path = info.dli_fname;
  return path.c_str();
}

// libtorch_cuda.so registers itself with the dispatcher when it is loaded.
char *mvag_load_cuda(void) {
  namespace fs = std::filesystem;
  fs::path beside = fs::path(mvag_library_path()).parent_path() / "libtorch_cuda.so";
  std::error_code ignored;
  std::string name = fs::exists(beside, ignored) ? beside.string() : "libtorch_cuda.so";
  if (dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL))
    return nullptr;
  return strdup(dlerror());
}

int mvag_cuda_devices(void) { return at::hasCUDA() ? static_cast<int>(torch::cuda::device_count()) : 0; }

char *mvag_jit_load(const char *path, uintptr_t visitor) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    auto module = torch::jit::load(path, torch::kCPU);
    for (const auto &p : module.named_parameters())
      mvagVisitTensor(visitor, const_cast<char *>(p.name.c_str()), give(p.value.detach()));
    for (const auto &b : module.named_buffers())
      mvagVisitTensor(visitor, const_cast<char *>(b.name.c_str()), give(b.value.detach()));
  });
}
