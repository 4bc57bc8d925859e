// How the bridge's C++ files turn handles into tensors and exceptions into messages.
#pragma once
#include "bridge.h"
#include "libtorch.h"

#include <cctype>
#include <cstring>
#include <string>

using torch::Tensor;

inline Tensor &as_tensor(handle h) { return *static_cast<Tensor *>(h); }
inline handle give(Tensor t) { return new Tensor(std::move(t)); }

// gotch's convention: -1 is the CPU, n >= 0 the CUDA device n.
inline torch::Device as_device(int d) {
  return d < 0 ? torch::Device(torch::kCPU) : torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(d));
}

// The tensors t of all ranks of a group (group.hpp) [size, …].
Tensor gather_ranks(void *group, const Tensor &t);

// A new tensor on the CPU with these elements.
Tensor host_copy(const void *data, size_t bytes, const int64_t *sizes, int ndim, int dtype, bool pinned);

// The message of a LibTorch error without its C++ backtrace and its general advice on CUDA, one line.
inline char *message(const std::exception &e) {
  auto *torch_error = dynamic_cast<const c10::Error *>(&e);
  std::string text = torch_error ? torch_error->what_without_backtrace() : e.what();
  if (text.rfind("CUDA error", 0) == 0)
    text = text.substr(0, text.find('\n'));
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.pop_back();
  for (char &c : text)
    if (c == '\n')
      c = ' ';
  return strdup(text.c_str());
}

template <class F> char *guarded(F f) {
  try {
    f();
    return nullptr;
  } catch (const std::exception &e) {
    return message(e);
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}
