// Dropout and noise by the position of their elements (philox.h): fused, kernels of our own on CUDA (random.cu) or
// loops on the CPU; else LibTorch's operations on integers, which give the same words.
#include "bridge.h"
#include "check.h"
#include "handles.h"
#include "kernels.h"
#include "loops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <torch/csrc/autograd/custom_function.h>

namespace {

#define __device__ inline __attribute__((always_inline))
__device__ float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
__device__ unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
#include "philox.h"
#undef __device__

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

constexpr int64_t draw_group = 64;  // elements whose blocks follow each other (philox.h)
constexpr int draw_lanes = 16;      // blocks of a group
constexpr int64_t draw_groups = 64; // that a thread fills at a time

// The words of so many groups from one on.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) void
fill_words(unsigned long long seed, unsigned number, int64_t group, int64_t groups, uint32_t *out) {
  for (int64_t g = group; g < group + groups; g++, out += draw_group)
    for (int j = 0; j < draw_lanes; j++) {
      Words w = philox(seed, draw_lanes * g + j, number);
      for (int k = 0; k < 4; k++)
        out[draw_lanes * k + j] = w.of[k];
    }
}

// The standard normal values of the words of so many groups.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) void
fill_normals(const uint32_t *words, int64_t groups, float *out) {
  for (int64_t g = 0; g < groups; g++, out += draw_group, words += draw_group)
    for (int j = 0; j < draw_lanes; j++) {
      normals(words[j], words[draw_lanes + j], out + j, out + draw_lanes + j);
      normals(words[2 * draw_lanes + j], words[3 * draw_lanes + j], out + 2 * draw_lanes + j, out + 3 * draw_lanes + j);
    }
}

int64_t first_group(const Drawing &d) { return static_cast<int64_t>(d.start / draw_group); }
int64_t groups_of(const Drawing &d) {
  return static_cast<int64_t>((d.start + d.count + draw_group - 1) / draw_group) - first_group(d);
}

// Calls work(words, groups, skip, from, to) in parallel: words of whole groups, of which those from skip on are of the
// elements from … to - 1 of d.
template <class F> void each_words(const Drawing &d, F work) {
  const int64_t before = d.start % draw_group, n = d.count;
  each_chunk(groups_of(d), draw_groups, [&](int64_t, int64_t g, int64_t end) {
    uint32_t words[draw_groups * draw_group];
    fill_words(*d.seed, d.number, first_group(d) + g, end - g, words);
    int64_t from = std::max<int64_t>(0, g * draw_group - before), to = std::min(n, end * draw_group - before);
    work(words, end - g, from + before - g * draw_group, from, to);
  });
}

// What an element is multiplied by where its word is at least least, and zeroed where it is less.
struct Keeping {
  uint32_t least;
  float scale;

  explicit Keeping(double p)
      : least(static_cast<uint32_t>(std::min(p * 0x1p32, 0x1p32 - 1))), scale(p < 1 ? 1 / (1 - p) : 0) {}
};

template <class T>
__attribute__((optimize("O3"))) void keep(const uint32_t *words, const T *in, T *out, int64_t n, Keeping k) {
  for (int64_t i = 0; i < n; i++) {
    float y = static_cast<float>(in[i]) * k.scale;
    out[i] = static_cast<T>(words[i] >= k.least ? y : 0.0f);
  }
}

template <class T> void keep_cpu(const Tensor &x, Tensor &out, const Drawing &d, Keeping k) {
  const T *in = x.const_data_ptr<T>();
  T *to = out.data_ptr<T>();
  each_words(d, [&](const uint32_t *words, int64_t, int64_t skip, int64_t from, int64_t end) {
    keep(words + skip, in + from, to + from, end - from, k);
  });
}

// A thread for each block of Philox.
Grid blocks_of(const Drawing &d) { return grid_for(groups_of(d) * draw_lanes); }

Tensor kept(const Tensor &x, const Drawing &d, Keeping k) {
  Tensor out = torch::empty_like(x);
  bool half = x.scalar_type() == torch::kBFloat16;
  if (x.is_cuda())
    launch(x, half ? "dropout_bfloat16" : "dropout_float", blocks_of(d), address(x), out.data_ptr(), d, k.least,
           k.scale);
  else
    half ? keep_cpu<at::BFloat16>(x, out, d, k) : keep_cpu<float>(x, out, d, k);
  return out;
}

// x is contiguous. Backward draws again what forward drew.
struct Drop : Function<Drop> {
  static Tensor forward(AutogradContext *ctx, const Tensor &x, const Tensor &seed, Drawing d, double p) {
    ctx->save_for_backward({seed});
    ctx->saved_data["start"] = static_cast<int64_t>(d.start);
    ctx->saved_data["number"] = static_cast<int64_t>(d.number);
    ctx->saved_data["p"] = p;
    return kept(x, d, Keeping(p));
  }

  static tensor_list backward(AutogradContext *ctx, tensor_list grads) {
    const Tensor seed = ctx->get_saved_variables()[0], g = grads[0].contiguous();
    Drawing d{reinterpret_cast<const long long *>(seed.const_data_ptr<int64_t>()),
              static_cast<unsigned long long>(ctx->saved_data["start"].toInt()), static_cast<unsigned>(g.numel()),
              static_cast<unsigned>(ctx->saved_data["number"].toInt())};
    return {kept(g, d, Keeping(ctx->saved_data["p"].toDouble())), Tensor(), Tensor(), Tensor()};
  }
};

// What is drawn for x [B, …]: its images are those from first on of the whole batch.
Drawing drawing(const Tensor &x, const mvag_draw &draw) {
  const Tensor &seed = as_tensor(draw.seed);
  Demands want{x.device()};
  want.contiguous("seed", seed, {torch::kLong}, {1});
  TORCH_CHECK(x.dim() > 0 && x.numel() > 0 && x.numel() < int64_t{1} << 31, "have shape ", x.sizes(),
              ", want [B, ...] with 1 to 2^31 - 1 elements");
  TORCH_CHECK(draw.first >= 0, "have first image ", draw.first, ", want at least 0");
  return {reinterpret_cast<const long long *>(seed.const_data_ptr<int64_t>()),
          static_cast<unsigned long long>(draw.first * (x.numel() / x.size(0))), static_cast<unsigned>(x.numel()),
          static_cast<unsigned>(draw.number)};
}

// By LibTorch's operations on int64: the words of the blocks of d, each [groups, 16]. Products of two words wrap to the
// 64 bits that they have.
std::array<Tensor, 4> composed_words(const Tensor &seed, const Drawing &d) {
  constexpr int64_t mask = 0xffffffff;
  auto low = [](const Tensor &x) { return x.bitwise_and(mask); };
  auto high = [](const Tensor &x) { return x.__rshift__(32).bitwise_and(mask); };
  int64_t from = first_group(d) * draw_lanes;
  Tensor counter = torch::arange(from, from + groups_of(d) * draw_lanes, seed.options()).view({-1, draw_lanes});
  Tensor c0 = low(counter), c1 = high(counter), c2 = torch::full_like(c0, static_cast<int64_t>(d.number)),
         c3 = torch::zeros_like(c0), k0 = low(seed), k1 = high(seed);
  for (int round = 0; round < 10; round++) {
    Tensor a = c0 * int64_t{0xD2511F53}, b = c2 * int64_t{0xCD9E8D57};
    c0 = high(b).bitwise_xor(c1).bitwise_xor(k0), c1 = low(b);
    c2 = high(a).bitwise_xor(c3).bitwise_xor(k1), c3 = low(a);
    k0 = low(k0 + int64_t{0x9E3779B9}), k1 = low(k1 + int64_t{0xBB67AE85});
  }
  return {c0, c1, c2, c3};
}

// Values [groups, 16] by word, as a tensor of x's shape.
Tensor placed(at::TensorList by_word, const Tensor &x, const Drawing &d) {
  int64_t before = d.start % draw_group;
  return at::stack(by_word, 1).flatten().slice(0, before, before + d.count).view(x.sizes());
}

Tensor composed_normal(const Tensor &x, const Tensor &seed, const Drawing &d) {
  auto w = composed_words(seed, d);
  Tensor out[4];
  for (int i = 0; i < 4; i += 2) {
    Tensor u = (w[i].to(torch::kFloat) * 0x1p-32 + 0x1p-33).to(torch::kDouble);
    Tensor radius = (u.log() * -2).sqrt(), angle = w[i + 1].to(torch::kDouble) * (2 * M_PI * 0x1p-32);
    out[i] = (radius * angle.cos()).to(torch::kFloat), out[i + 1] = (radius * angle.sin()).to(torch::kFloat);
  }
  return placed(out, x, d);
}

} // namespace

char *mvag_dropout(handle *out, handle x, double p, mvag_draw draw) {
  return guarded([&] {
    const Tensor t = as_tensor(x).contiguous(), &seed = as_tensor(draw.seed);
    TORCH_CHECK(p >= 0 && p <= 1, "have probability ", p, ", want 0 to 1");
    Drawing d = drawing(t, draw);
    if (draw.fused) {
      Demands{t.device()}.contiguous("x", t, {torch::kFloat, torch::kBFloat16}, t.sizes());
      *out = give(Drop::apply(t, seed, d, p));
      return;
    }
    Keeping k(p);
    Tensor mask = placed(composed_words(seed, d), t, d) >= static_cast<int64_t>(k.least);
    *out = give(at::where(mask, t * k.scale, 0));
  });
}

char *mvag_normal(handle *out, handle x, mvag_draw draw) {
  return guarded([&] {
    const Tensor &t = as_tensor(x);
    Drawing d = drawing(t, draw);
    if (!draw.fused) {
      *out = give(composed_normal(t, as_tensor(draw.seed), d));
      return;
    }
    Tensor made = torch::empty(t.sizes(), t.options().dtype(torch::kFloat).requires_grad(false));
    float *to = made.data_ptr<float>();
    if (t.is_cuda())
      launch(t, "normal", blocks_of(d), to, d);
    else
      each_words(d, [&](const uint32_t *words, int64_t groups, int64_t skip, int64_t from, int64_t end) {
        float values[draw_groups * draw_group];
        fill_normals(words, groups, values);
        std::copy_n(values + skip, end - from, to + from);
      });
    *out = give(made);
  });
}
