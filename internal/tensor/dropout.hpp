// Dropout in one pass over memory each way, on all threads, for float32 on the CPU, where LibTorch's draws from one
// thread unless the CPU is Intel's. Other types and devices get LibTorch's.
#include "bridge.h"
#include "handles.h"
#include "loops.h"

#include <mutex>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/custom_function.h>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// Elements that use one subsequence of random numbers, whatever the number of threads.
constexpr int64_t philox_chunk = 4096;

constexpr int philox_lanes = 8;
using Block = uint32_t[4][philox_lanes];

// Philox 4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011) for so many counters that follow
// each other.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) void
philox(uint64_t key, uint64_t subsequence, uint64_t counter, Block out) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int j = 0; j < philox_lanes; j++) {
    out[0][j] = static_cast<uint32_t>(counter + j);
    out[1][j] = static_cast<uint32_t>((counter + j) >> 32);
    out[2][j] = static_cast<uint32_t>(subsequence);
    out[3][j] = static_cast<uint32_t>(subsequence >> 32);
  }
  for (int round = 0; round < 10; round++) {
    for (int j = 0; j < philox_lanes; j++) {
      uint64_t a = uint64_t{0xD2511F53} * out[0][j], b = uint64_t{0xCD9E8D57} * out[2][j];
      out[0][j] = static_cast<uint32_t>(b >> 32) ^ out[1][j] ^ k0;
      out[1][j] = static_cast<uint32_t>(b);
      out[2][j] = static_cast<uint32_t>(a >> 32) ^ out[3][j] ^ k1;
      out[3][j] = static_cast<uint32_t>(a);
    }
    k0 += 0x9E3779B9, k1 += 0xBB67AE85;
  }
}

uint64_t draw() {
  auto generator = at::detail::getDefaultCPUGenerator();
  std::lock_guard<std::mutex> lock(generator.mutex());
  return at::check_generator<at::CPUGeneratorImpl>(generator)->random64();
}

struct Drop : Function<Drop> {
  static Tensor forward(AutogradContext *ctx, const Tensor &x, double p) {
    Tensor kept = torch::empty_like(x, torch::kBool), out = torch::empty_like(x);
    const auto scale = static_cast<float>(1 / (1 - p));
    const float *in = x.const_data_ptr<float>();
    const auto dropped = static_cast<uint64_t>(p * 4294967296.0); // of 2^32
    bool *k = kept.data_ptr<bool>();
    float *o = out.data_ptr<float>();
    uint64_t seed = draw();
    each_chunk(x.numel(), philox_chunk, [&](int64_t c, int64_t from, int64_t to) {
      Block random;
      const uint32_t *numbers = *random;
      constexpr int64_t block = 4 * philox_lanes;
      for (int64_t i = from; i < to; i += block) {
        philox(seed, c, (i - from) / block * philox_lanes, random);
        for (int64_t j = i; j < std::min(to, i + block); j++)
          k[j] = numbers[j - i] >= dropped;
      }
      for (int64_t i = from; i < to; i++)
        o[i] = k[i] ? in[i] * scale : 0.0f;
    });
    ctx->save_for_backward({kept});
    ctx->saved_data["scale"] = static_cast<double>(scale);
    return out;
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    const Tensor kept = ctx->get_saved_variables()[0], g = grads[0].contiguous();
    Tensor out = torch::empty_like(g);
    const auto scale = static_cast<float>(ctx->saved_data["scale"].toDouble());
    const float *in = g.const_data_ptr<float>();
    const bool *k = kept.const_data_ptr<bool>();
    float *o = out.data_ptr<float>();
    each_chunk(g.numel(), philox_chunk, [&](int64_t, int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++)
        o[i] = k[i] ? in[i] * scale : 0.0f;
    });
    return {out, Tensor()};
  }
};

} // namespace

char *mvag_dropout(handle *out, handle x, double p) {
  return guarded([&] {
    const Tensor &t = as_tensor(x);
    bool ours = t.is_cpu() && t.scalar_type() == torch::kFloat;
    *out = give(ours ? Drop::apply(t.contiguous(), p) : at::dropout(t, p, true));
  });
}
