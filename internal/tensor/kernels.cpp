#include "kernels.h"
#include "cuda.h"
#include "handles.h"

#include <dlfcn.h>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>

#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#define KERNELS(...) #__VA_ARGS__ "\n"
namespace {
const char source[] =
#include "device.cu.h"
#include "numbers.cu.h"
#include "heads.cu.h"
#include "attend.cu.h"
#include "columns.cu.h"
#include "norm.cu.h"
#include "blocks.cu.h"
#include "tables.cu.h"
#include "adamw.cu.h"
#include "losses.cu.h"
#include "patches.cu.h"
    ;

// What is used of NVIDIA's compiler (nvrtc.h) and driver (cuda.h); 0 is success.
// LibTorch's libcaffe2_nvrtc.so depends on both.
struct Nvidia {
  int (*create)(void **program, const char *source, const char *name, int, const char *const *, const char *const *);
  int (*compile)(void *program, int n, const char *const *options);
  int (*log_size)(void *program, size_t *);
  int (*log)(void *program, char *);
  int (*size)(void *program, size_t *);
  int (*code)(void *program, char *);
  int (*destroy)(void **program);
  int (*context)(void **);
  int (*retain)(void **context, int device);
  int (*use)(void *context);
  int (*load)(void **module, const void *code);
  int (*get)(void **kernel, void *module, const char *name);
  int (*launch)(void *kernel, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared, void *stream, void **args, void **extra);

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
    find(size, "nvrtcGetCUBINSize");
    find(code, "nvrtcGetCUBIN");
    find(destroy, "nvrtcDestroyProgram");
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

std::string compile(const std::string &architecture) {
  const Nvidia &n = nvidia();
  void *program = nullptr;
  TORCH_CHECK(n.create(&program, source, "kernels.cu", 0, nullptr, nullptr) == 0, "nvrtcCreateProgram failed");
  std::string option = "--gpu-architecture=" + architecture, text;
  const char *options[] = {option.c_str(), "--split-compile=0"}; // on all processors
  int failed = n.compile(program, 2, options);
  size_t size = 0;
  if (failed ? n.log_size(program, &size) : n.size(program, &size))
    size = 0;
  text.resize(size);
  if (failed ? n.log(program, text.data()) : n.code(program, text.data()))
    text.clear();
  n.destroy(&program);
  TORCH_CHECK(!failed, architecture, ": ", text);
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

// The kernels of a device, or why it has none. Two threads call them: the caller's forward and, for CUDA, LibTorch's
// own for backward.
class Module {
  void *loaded = nullptr;
  std::string failure;
  std::map<std::string, void *> kernels;

  void load(int device) {
    char name[256];
    int major = 0, minor = 0;
    TORCH_CHECK(mvag_device_name(device, name, sizeof name, &major, &minor), "the driver does not describe it");
    OnDevice on(device);
    std::string code = compile("sm_" + std::to_string(10 * major + minor));
    int failed = nvidia().load(&loaded, code.data());
    TORCH_CHECK(!failed, "cuModuleLoadData: error ", failed);
  }

public:
  explicit Module(int device) {
    if (char *why = guarded([&] { load(device); })) {
      failure = why;
      free(why);
    }
  }
  void *kernel(const char *name) {
    TORCH_CHECK(failure.empty(), "no CUDA kernels: ", failure);
    void *&k = kernels[name];
    if (!k) {
      int failed = nvidia().get(&k, loaded, name);
      TORCH_CHECK(!failed, "cuModuleGetFunction ", name, ": error ", failed);
    }
    return k;
  }
  const std::string &why() const { return failure; }
};

// Calls f with the kernels of a device, which are loaded once.
template <class F> auto with_module(int device, F f) {
  static std::mutex mutex;
  static std::map<int, Module> all;
  std::lock_guard<std::mutex> lock(mutex);
  return f(all.try_emplace(device, device).first->second);
}

} // namespace

char *mvag_load_kernels(int device) {
  return guarded([&] {
    with_module(device, [&](Module &m) { TORCH_CHECK(m.why().empty(), m.why()); });
  });
}

void launch_kernel(const Tensor &on, const char *name, Grid grid, void **args) {
  TORCH_CHECK(on.is_cuda(), name, ": have the CPU, want a CUDA device");
  OnDevice device(on.get_device());
  void *kernel = with_module(on.get_device(), [&](Module &m) { return m.kernel(name); });
  c10::Stream stream = c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(on.device());
  int failed = nvidia().launch(kernel, grid.x, grid.y, grid.z, grid.threads, 1, 1, 0, stream.native_handle(), args, nullptr);
  TORCH_CHECK(!failed, name, ": cuLaunchKernel: error ", failed);
}
