// What our own loops and kernels demand of the tensors that they read and write by pointer. Every C entry that hands
// out a pointer states its demands here, and fails where they are not met: it never computes in another way instead.
#pragma once
#include "libtorch.h"

#include <initializer_list>

// The name of a type as the messages of the program have it.
inline const char *type_name(torch::ScalarType type) {
  switch (type) {
  case torch::kByte:
    return "uint8";
  case torch::kLong:
    return "int64";
  case torch::kHalf:
    return "float16";
  case torch::kFloat:
    return "float32";
  case torch::kDouble:
    return "float64";
  case torch::kBool:
    return "bool";
  case torch::kBFloat16:
    return "bfloat16";
  default:
    return torch::toString(type);
  }
}

// The demands on the tensors of one operation, all of them on one device.
struct Demands {
  torch::Device device;

  // t has one of these types and this shape (-1 stands for any size), is contiguous, begins at a multiple of 16 bytes
  // and has elements, but fewer than 2^31.
  void tensor(const char *name, const torch::Tensor &t, std::initializer_list<torch::ScalarType> types,
              at::IntArrayRef shape) const {
    contiguous(name, t, types, shape);
    aligned(name, t);
  }

  // The same at any address.
  void contiguous(const char *name, const torch::Tensor &t, std::initializer_list<torch::ScalarType> types,
                  at::IntArrayRef shape) const {
    shaped(name, t, types, shape);
    TORCH_CHECK(t.is_contiguous(), name, ": have strides ", t.strides(), ", want a contiguous tensor");
  }

  // The same at any address and with any strides.
  void shaped(const char *name, const torch::Tensor &t, std::initializer_list<torch::ScalarType> types,
              at::IntArrayRef shape) const {
    bool known = false;
    for (auto type : types)
      known |= t.scalar_type() == type;
    TORCH_CHECK(known, name, ": have ", type_name(t.scalar_type()), ", want ", type_name(*types.begin()),
                types.size() > 1 ? " or " : "", types.size() > 1 ? type_name(types.begin()[1]) : "");
    bool fits = t.dim() == static_cast<int64_t>(shape.size());
    for (size_t i = 0; fits && i < shape.size(); i++)
      fits = shape[i] < 0 || t.size(i) == shape[i];
    TORCH_CHECK(fits, name, ": have shape ", t.sizes(), ", want ", shape);
    TORCH_CHECK(t.device() == device, name, ": have ", t.device(), ", want ", device);
    TORCH_CHECK(t.numel() > 0 && t.numel() < int64_t{1} << 31, name, ": have ", t.numel(),
                " elements, want 1 to 2^31 - 1");
  }

  void aligned(const char *name, const torch::Tensor &t) const {
    TORCH_CHECK(reinterpret_cast<uintptr_t>(t.const_data_ptr()) % 16 == 0, name,
                ": have an address that is no multiple of 16 bytes");
  }

  // For what has kernels alone.
  void cuda() const { TORCH_CHECK(device.is_cuda(), "have the CPU, want a CUDA device"); }
};
