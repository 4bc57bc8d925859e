// Lets the unmodified C++ shim of gotch v0.9.1 (written for LibTorch 2.1)
// compile against LibTorch 2.11. It is included before every C++ file of the
// build by CGO_CXXFLAGS (third_party/env.sh).
//
// Functions declared here, directly in namespace torch, have the argument
// lists of 2.1. Qualified lookup of torch::f stops at them and never reaches
// at::f through LibTorch's using-directive, so they cannot be ambiguous.
//
// The program's own C++ (internal/tensor) defines MVAG_BRIDGE and needs none of it.
#pragma once
#if defined(__cplusplus) && !defined(MVAG_BRIDGE)
#include <torch/torch.h>

#if TORCH_VERSION_MAJOR != 2 || TORCH_VERSION_MINOR != 11
#define MVAG_TEXT_(x) #x
#define MVAG_TEXT(x) MVAG_TEXT_(x)
#pragma message("LibTorch: have " TORCH_VERSION ", want 2.11")
#error "LibTorch of another version than 2.11: run third_party/libtorch.sh, or point MVAG_LIBTORCH at 2.11.0"
#endif

#include <optional>
#include <stdexcept>
#include <tuple>

namespace torch {

// Since 2.2 alpha and out_dtype stand before transpose_result.
inline Tensor _cslt_sparse_mm(const Tensor &a, const Tensor &b,
                              const Tensor &bias, bool transpose_result) {
  return at::_cslt_sparse_mm(a, b,
                             bias.defined() ? std::optional<Tensor>(bias)
                                            : std::nullopt,
                             std::nullopt, std::nullopt, transpose_result);
}

// Since 2.5 the scales are required and only one tensor is returned; the
// program never calls these two, so they refuse.
inline std::tuple<Tensor, Tensor>
_scaled_mm(const Tensor &, const Tensor &, const Tensor &,
           std::optional<ScalarType>, const Tensor &, const Tensor &,
           const Tensor &) {
  throw std::runtime_error("_scaled_mm: changed in LibTorch 2.5");
}

inline std::tuple<Tensor, Tensor>
_scaled_mm_out(const Tensor &, const Tensor &, const Tensor &, const Tensor &,
               const Tensor &, std::optional<ScalarType>, const Tensor &,
               const Tensor &, const Tensor &) {
  throw std::runtime_error("_scaled_mm_out: changed in LibTorch 2.5");
}

// gotch passes "no mask" as an undefined tensor, which LibTorch refuses.
inline Tensor scaled_dot_product_attention(const Tensor &q, const Tensor &k,
                                           const Tensor &v, const Tensor &mask,
                                           double dropout, bool causal,
                                           std::optional<double> scale) {
  return at::scaled_dot_product_attention(
      q, k, v, mask.defined() ? std::optional<Tensor>(mask) : std::nullopt,
      dropout, causal, scale);
}

} // namespace torch
#endif
