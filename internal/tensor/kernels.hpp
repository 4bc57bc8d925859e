#include "kernels.h"
#include "handles.h"

#include <dlfcn.h>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace {

// What is used of NVIDIA's compiler (nvrtc.h) and driver (cuda.h); 0 is success. LibTorch's libcaffe2_nvrtc.so depends
// on both.
struct Nvidia {
  int (*create)(void **program, const char *source, const char *name, int, const char *const *, const char *const *);
  int (*compile)(void *program, int n, const char *const *options);
  int (*log_size)(void *program, size_t *);
  int (*log)(void *program, char *);
  int (*cubin_size)(void *program, size_t *);
  int (*cubin)(void *program, char *);
  int (*ptx_size)(void *program, size_t *);
  int (*ptx)(void *program, char *);
  int (*destroy)(void **program);
  int (*version)(int *major, int *minor);
  int (*count)(int *);
  int (*architectures)(int *);
  int (*context)(void **);
  int (*retain)(void **context, int device);
  int (*use)(void *context);
  int (*load)(void **module, const void *code);
  int (*get)(void **kernel, void *module, const char *name);
  int (*launch)(void *kernel, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared, void *stream,
                void **args, void **extra);

  Nvidia() {
    namespace fs = std::filesystem;
    fs::path beside = fs::path(mvag_library_path()).parent_path() / "libcaffe2_nvrtc.so";
    void *lib = dlopen(beside.c_str(), RTLD_NOW);
    if (!lib)
      lib = dlopen("libcaffe2_nvrtc.so", RTLD_NOW);
    TORCH_CHECK(lib, dlerror());
    auto find = [&](auto &f, const char *symbol) {
      f = reinterpret_cast<std::decay_t<decltype(f)>>(dlsym(lib, symbol));
      TORCH_CHECK(f, "no ", symbol);
    };
    find(create, "nvrtcCreateProgram");
    find(compile, "nvrtcCompileProgram");
    find(log_size, "nvrtcGetProgramLogSize");
    find(log, "nvrtcGetProgramLog");
    find(cubin_size, "nvrtcGetCUBINSize");
    find(cubin, "nvrtcGetCUBIN");
    find(ptx_size, "nvrtcGetPTXSize");
    find(ptx, "nvrtcGetPTX");
    find(destroy, "nvrtcDestroyProgram");
    find(version, "nvrtcVersion");
    find(count, "nvrtcGetNumSupportedArchs");
    find(architectures, "nvrtcGetSupportedArchs");
    find(context, "cuCtxGetCurrent");
    find(retain, "cuDevicePrimaryCtxRetain");
    find(use, "cuCtxSetCurrent");
    find(load, "cuModuleLoadData");
    find(get, "cuModuleGetFunction");
    find(launch, "cuLaunchKernel");
  }
};

const Nvidia &nvidia() {
  static const Nvidia n;
  return n;
}

// The machine code for an architecture such as sm_90, or PTX for one such as compute_120.
std::string compile(const char *source, const char *name, const std::string &architecture) {
  const Nvidia &n = nvidia();
  void *program = nullptr;
  TORCH_CHECK(n.create(&program, source, name, 0, nullptr, nullptr) == 0, "nvrtcCreateProgram failed");
  bool ptx = architecture.rfind("compute_", 0) == 0;
  std::string option = "--gpu-architecture=" + architecture, text;
  const char *options[] = {option.c_str(), "--split-compile=0"}; // on all CPUs
  int failed = n.compile(program, 2, options);
  auto size_of = failed ? n.log_size : ptx ? n.ptx_size : n.cubin_size;
  auto text_of = failed ? n.log : ptx ? n.ptx : n.cubin;
  size_t size = 0;
  if (size_of(program, &size))
    size = 0;
  text.resize(size);
  if (text_of(program, text.data()))
    text.clear();
  n.destroy(&program);
  TORCH_CHECK(!failed && !text.empty(), architecture, ": ", text);
  return text;
}

// Makes a device the driver's, too: a thread that has not called CUDA's runtime has no context yet.
struct OnDevice {
  c10::DeviceGuard guard;
  explicit OnDevice(int device) : guard(as_device(device)) {
    void *context = nullptr;
    int failed = nvidia().context(&context);
    if (!failed && !context && !(failed = nvidia().retain(&context, device)))
      failed = nvidia().use(context);
    TORCH_CHECK(!failed, "cuDevicePrimaryCtxRetain: error ", failed);
  }
};

// The kernels of a device. Two threads launch them: the caller's, and LibTorch's own for backward on CUDA.
struct Device {
  std::vector<void *> modules;
  std::map<std::string, void *> kernels;

  void *kernel(const char *name) {
    void *&k = kernels[name];
    for (size_t i = 0; i < modules.size() && !k; i++)
      if (nvidia().get(&k, modules[i], name))
        k = nullptr;
    TORCH_CHECK(k, name, ": no such kernel has been loaded");
    return k;
  }
};

// The devices by index, and the lock that whoever uses one holds.
std::mutex mutex;
std::map<int, Device> devices;

} // namespace

char *mvag_nvrtc(int *major, int *minor, int *architectures, int *n) {
  return guarded([&] {
    const Nvidia &nv = nvidia();
    int have = 0;
    TORCH_CHECK(nv.version(major, minor) == 0 && nv.count(&have) == 0 && have <= *n, "nvrtcVersion failed");
    *n = have;
    TORCH_CHECK(nv.architectures(architectures) == 0, "nvrtcGetSupportedArchs failed");
  });
}

char *mvag_compile(void **image, size_t *bytes, const char *source, const char *name, const char *architecture) {
  return guarded([&] {
    std::string code = compile(source, name, architecture);
    *image = malloc(code.size());
    TORCH_CHECK(*image, "out of memory");
    std::memcpy(*image, code.data(), *bytes = code.size());
  });
}

char *mvag_load_module(int device, const void *image) {
  return guarded([&] {
    OnDevice on(device);
    void *module = nullptr;
    int failed = nvidia().load(&module, image);
    TORCH_CHECK(!failed, "cuModuleLoadData: error ", failed);
    std::lock_guard<std::mutex> lock(mutex);
    devices[device].modules.push_back(module);
  });
}

void launch_kernel(const Tensor &on, const char *name, Grid grid, void **args) {
  TORCH_CHECK(on.is_cuda(), name, ": have the CPU, want a CUDA device");
  OnDevice device(on.get_device());
  std::unique_lock<std::mutex> lock(mutex);
  void *kernel = devices[on.get_device()].kernel(name);
  lock.unlock();
  c10::Stream stream = c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(on.device());
  int failed =
      nvidia().launch(kernel, grid.x, grid.y, grid.z, grid.threads, 1, 1, 0, stream.native_handle(), args, nullptr);
  TORCH_CHECK(!failed, name, ": cuLaunchKernel: error ", failed);
}
