// One step of StableAdamW with amsgrad (see StableAdamW in run.go), in few passes: fused, kernels of our own over
// tables of tensors on CUDA (adamw.cu) or two loops over each tensor on the CPU; else LibTorch's operations on lists of
// tensors.
#include "bridge.h"
#include "check.h"
#include "handles.h"
#include "kernels.h"
#include "loops.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <vector>

namespace {

#include "tables.h"

struct Lists {
  std::vector<Tensor> p, g, m, v, vmax;
};

// The parameters that have a gradient: the others get no update and no decay, and do not count in the norm.
Lists with_gradient(handle *params, handle *m, handle *v, handle *vmax, int n) {
  Lists l;
  for (int i = 0; i < n; i++) {
    const Tensor &grad = as_tensor(params[i]).grad();
    if (!grad.defined())
      continue;
    l.p.push_back(as_tensor(params[i])), l.g.push_back(grad);
    l.m.push_back(as_tensor(m[i])), l.v.push_back(as_tensor(v[i]));
    l.vmax.push_back(as_tensor(vmax[i]));
  }
  TORCH_CHECK(!l.g.empty(), "no parameter has a gradient");
  return l;
}

struct Constants {
  float b1, b2, one_minus_b1, one_minus_b2, eps, decay, rate, bias2; // one_minus_b1 is 1 - beta1
  Constants(const mvag_adamw &o, const float *rates)
      : b1(o.beta1), b2(o.beta2), one_minus_b1(1 - o.beta1), one_minus_b2(1 - o.beta2), eps(o.eps), decay(rates[0]),
        rate(rates[1]), bias2(rates[2]) {}
};

// Sums are taken over chunks of this size, in lanes, so that the result does not depend on the number of threads.
constexpr int64_t chunk = 16384;
constexpr int lanes = 16;

// Updates the moments of one chunk; returns the sum of (g/d)².
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) double
moments(const float *__restrict__ g, float *__restrict__ m, float *__restrict__ v, float *__restrict__ x, int64_t n,
        float scale, Constants c) {
  float sum[lanes] = {};
  auto one = [&](int64_t i, int lane) {
    float gi = g[i] * scale;
    m[i] = c.b1 * m[i] + c.one_minus_b1 * gi;
    v[i] = c.b2 * v[i] + c.one_minus_b2 * gi * gi;
    x[i] = x[i] < v[i] ? v[i] : x[i];
    float r = gi / (__builtin_sqrtf(x[i]) / c.bias2 + c.eps);
    sum[lane] += r * r;
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int lane = 0; lane < lanes; lane++)
      one(i + lane, lane);
  for (; i < n; i++)
    one(i, 0);
  double total = 0;
  for (float s : sum)
    total += s;
  return total;
}

// Decays and moves one chunk of a parameter.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) void
move(float *__restrict__ p, const float *__restrict__ m, const float *__restrict__ x, int64_t n, float rate,
     Constants c) {
  for (int64_t i = 0; i < n; i++)
    p[i] = c.decay * p[i] - rate * (m[i] / (__builtin_sqrtf(x[i]) / c.bias2 + c.eps));
}

void update_cpu(Tensor &p, const Tensor &g, Tensor &m, Tensor &v, Tensor &vmax, float scale, Constants c) {
  int64_t n = p.numel();
  float *pp = p.data_ptr<float>(), *pm = m.data_ptr<float>(), *pv = v.data_ptr<float>(), *px = vmax.data_ptr<float>();
  const float *pg = g.data_ptr<float>();
  std::vector<double> sums((n + chunk - 1) / chunk);
  each_chunk(n, chunk, [&](int64_t k, int64_t at, int64_t to) {
    sums[k] = moments(pg + at, pm + at, pv + at, px + at, to - at, scale, c);
  });
  double total = 0;
  for (double s : sums)
    total += s;
  float rho = std::max(1.0, std::sqrt(total / static_cast<double>(n)));
  each_chunk(n, chunk,
             [&](int64_t, int64_t at, int64_t to) { move(pp + at, pm + at, px + at, to - at, c.rate / rho, c); });
}

// Computes the new tensors beside the old ones and then takes them where sound, a boolean on the device, says so.
void update_lists(Lists &l, const mvag_adamw &o, const Tensor &rates, const Tensor &scale, const Tensor &sound) {
  at::_foreach_mul_(l.g, scale);
  auto p = at::_foreach_mul(l.p, rates[0]);
  auto m = at::_foreach_mul(l.m, o.beta1);
  at::_foreach_add_(m, l.g, 1 - o.beta1);
  auto v = at::_foreach_mul(l.v, o.beta2);
  at::_foreach_addcmul_(v, l.g, l.g, 1 - o.beta2);
  auto vmax = at::_foreach_maximum(l.vmax, v);
  auto d = at::_foreach_sqrt(vmax);
  at::_foreach_div_(d, rates[2]);
  at::_foreach_add_(d, o.eps);
  auto rms = at::_foreach_norm(at::_foreach_div(l.g, d), 2);
  std::vector<at::Scalar> roots;
  for (const Tensor &g : l.g)
    roots.push_back(1 / std::sqrt(static_cast<double>(g.numel())));
  at::_foreach_mul_(rms, roots);
  // The rates of all parameters at once, rate / rho [n].
  auto each = (rates[1] / at::stack(rms).clamp_min(1.0)).unbind(0);
  auto step = at::_foreach_div(m, d);
  for (size_t i = 0; i < step.size(); i++)
    step[i].mul_(each[i]);
  at::_foreach_sub_(p, step);
  auto take = [&](std::vector<Tensor> &to, const std::vector<Tensor> &from) {
    for (size_t i = 0; i < to.size(); i++)
      at::where_out(to[i], sound, from[i], to[i]);
  };
  take(l.p, p), take(l.m, m), take(l.v, v), take(l.vmax, vmax);
}

// What loops and kernels demand. Gradients become contiguous.
void check(Lists &l, const Tensor &rates, const Tensor &loss) {
  Demands want{rates.device()};
  want.tensor("rates", rates, {torch::kFloat}, {3});
  want.contiguous("loss", loss, {torch::kFloat}, {});
  for (size_t i = 0; i < l.p.size(); i++) {
    if (l.p[i].numel() == 0)
      continue;
    l.g[i] = l.g[i].contiguous();
    const std::pair<const char *, const Tensor *> all[] = {
        {"parameter", &l.p[i]}, {"gradient", &l.g[i]}, {"m", &l.m[i]}, {"v", &l.v[i]}, {"vmax", &l.vmax[i]}};
    for (auto &[name, t] : all)
      want.contiguous(name, *t, {torch::kFloat}, l.p[i].sizes());
  }
}

constexpr unsigned block = 4096; // elements, as in adamw.cu

// The parameters of one launch; at is the number of blocks of the launches before it.
struct Launch {
  Parameters table{};
  unsigned blocks = 0, at = 0;
};

std::vector<Launch> launches(Lists &l) {
  std::vector<Launch> all(1);
  for (size_t i = 0; i < l.p.size(); i++) {
    unsigned n = static_cast<unsigned>(l.p[i].numel());
    if (n == 0)
      continue;
    if (all.back().table.count == std::size(all.back().table.of)) {
      unsigned at = all.back().at + all.back().blocks;
      all.emplace_back().at = at;
    }
    Launch &to = all.back();
    to.table.of[to.table.count++] = {l.g[i].const_data_ptr<float>(),
                                     l.p[i].data_ptr<float>(),
                                     l.m[i].data_ptr<float>(),
                                     l.v[i].data_ptr<float>(),
                                     l.vmax[i].data_ptr<float>(),
                                     n,
                                     to.blocks};
    to.blocks += (n - 1) / block + 1;
  }
  return all;
}

// Returns the norm of the gradients before clipping.
Tensor update_kernels(Lists &l, const mvag_adamw &o, const Tensor &rates, const Tensor &loss) {
  auto all = launches(l);
  unsigned blocks = all.back().at + all.back().blocks;
  Tensor partial = torch::empty({static_cast<int64_t>(blocks)}, rates.options());
  Tensor norm = torch::empty({}, rates.options()), scale = torch::empty({}, rates.options());
  float *sums = partial.data_ptr<float>();
  const float *by = rates.const_data_ptr<float>(), *clip = scale.const_data_ptr<float>();
  Betas betas{static_cast<float>(o.beta1), static_cast<float>(o.beta2), static_cast<float>(1 - o.beta1),
              static_cast<float>(1 - o.beta2), static_cast<float>(o.eps)};
  auto each = [&](auto work) {
    for (const Launch &a : all)
      if (a.blocks)
        work(a.table, Grid{a.blocks}, sums + a.at);
  };
  each([&](const Parameters &table, Grid grid, float *to) { launch(rates, "adamw_squares", grid, table, to); });
  launch(rates, "adamw_clip", Grid{1, 1, 1, 1024}, address(partial), blocks, loss.const_data_ptr<float>(),
         static_cast<float>(o.clip), norm.data_ptr(), scale.data_ptr());
  each([&](const Parameters &table, Grid grid, float *to) {
    launch(rates, "adamw_moments", grid, table, by, clip, to, betas);
  });
  each([&](const Parameters &table, Grid grid, float *from) {
    launch(rates, "adamw_move", grid, table, by, clip, from, betas.eps);
  });
  return norm;
}

} // namespace

char *mvag_stable_adamw(handle *norm, handle *params, handle *m, handle *v, handle *vmax, int n, handle rates,
                        handle loss, mvag_adamw o) {
  return guarded([&] {
    torch::NoGradGuard no_grad;
    Lists l = with_gradient(params, m, v, vmax, n);
    const Tensor &by = as_tensor(rates), &objective = as_tensor(loss);
    if (o.fused)
      check(l, by, objective);
    if (o.fused && by.is_cuda()) {
      *norm = give(update_kernels(l, o, by, objective));
      return;
    }
    Tensor total = at::linalg_vector_norm(at::stack(at::_foreach_norm(l.g, 2)));
    Tensor scale = (o.clip / (total + 1e-6)).clamp_max(1.0);
    Tensor sound = at::isfinite(total).logical_and(at::isfinite(objective));
    if (o.fused) {
      Constants c(o, by.const_data_ptr<float>());
      float s = scale.item<float>();
      if (sound.item<bool>())
        for (size_t i = 0; i < l.p.size(); i++)
          update_cpu(l.p[i], l.g[i], l.m[i], l.v[i], l.vmax[i], s, c);
    } else {
      update_lists(l, o, by, scale, sound);
    }
    *norm = give(total);
  });
}
