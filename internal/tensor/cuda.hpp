#include "cuda.h"
#include "handles.h"

#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <type_traits>

#include <c10/core/CachingDeviceAllocator.h>

namespace {

// What is used of NVIDIA's driver API (cuda.h); 0 is success. The driver is there without LibTorch's CUDA libraries and
// tells why they do not work.
struct Driver {
  int (*init)(unsigned);
  int (*version)(int *);
  int (*get)(int *device, int ordinal);
  int (*name)(char *, int length, int device);
  int (*attribute)(int *, int attribute, int device);

  explicit Driver() {
    void *lib = dlopen("libcuda.so.1", RTLD_NOW);
    auto find = [&](auto &f, const char *symbol) {
      f = lib ? reinterpret_cast<std::decay_t<decltype(f)>>(dlsym(lib, symbol)) : nullptr;
    };
    find(init, "cuInit");
    find(version, "cuDriverGetVersion");
    find(get, "cuDeviceGet");
    find(name, "cuDeviceGetName");
    find(attribute, "cuDeviceGetAttribute");
  }
  bool complete() const { return init && version && get && name && attribute; }
};

const Driver &driver() {
  static const Driver d;
  return d;
}

c10::DeviceAllocator *allocator() { return c10::getDeviceAllocator(c10::DeviceType::CUDA); }

} // namespace

int mvag_driver_version(void) {
  int version = 0;
  if (driver().complete() && driver().version(&version) != 0)
    version = 0;
  return version;
}

bool mvag_device_name(int index, char *name, int length, int *major, int *minor) {
  const Driver &d = driver();
  int device = 0;
  // 75 and 76 are CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
  return d.complete() && d.init(0) == 0 && d.get(&device, index) == 0 && d.name(name, length, device) == 0 &&
         d.attribute(major, 75, device) == 0 && d.attribute(minor, 76, device) == 0;
}

char *mvag_device_memory(int index, uint64_t *free, uint64_t *total) {
  return guarded([&] {
    auto info = allocator()->getMemoryInfo(static_cast<c10::DeviceIndex>(index));
    *free = info.first;
    *total = info.second;
  });
}

char *mvag_device_use(int index, uint64_t *now, uint64_t *peak) {
  return guarded([&] {
    auto stats = allocator()->getDeviceStats(static_cast<c10::DeviceIndex>(index));
    const auto &all = stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    *now = static_cast<uint64_t>(all.current);
    *peak = static_cast<uint64_t>(all.peak);
  });
}
