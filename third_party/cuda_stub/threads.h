// The threads of a block on one thread of the CPU: each a coroutine that goes on until it waits for others. It is what
// kernels of our own run on where there is no GPU; kernels are compiled as functions, after this.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ucontext.h>

struct Index {
  unsigned x, y, z;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
static Index blockIdx, blockDim, gridDim, threadIdx;

inline float __uint_as_float(unsigned bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  memcpy(&bits, &x, 4);
  return bits;
}
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline float __expf(float x) { return expf(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __fdividef(float x, float y) { return x / y; }

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __restrict__
#define __grid_constant__
#define __shared__ static // one block runs at a time

namespace threads {
constexpr size_t stack = 1 << 16;
struct Barrier {
  unsigned arrived, generation, yes, counted;
};
struct Lane {
  float numbers[2];
  bool second;
  unsigned words[6];
};
typedef void *Place[5];
static Place scheduler, places[1024]; // where threads go on
static bool ended[1024];
static unsigned now, begun; // those there are go from block to block
static Barrier block, warps[32];
static Lane lanes[1024];
static void (*work)(void **);
static void **arguments;

// Goes on at another place; at this one when someone else does. The swapcontext of the C library asks the kernel each
// time, which takes 100 times as long.
__attribute__((noipa)) inline void go(Place to) { __builtin_longjmp(to, 1); }
__attribute__((noipa)) inline void leave(Place here, Place to) {
  if (__builtin_setjmp(here) == 0)
    go(to);
}
inline void body() {
  for (;;) {
    work(arguments);
    ended[now] = true;
    leave(places[now], scheduler);
  }
}
__attribute__((noipa)) inline void begin() {
  ucontext_t context;
  getcontext(&context);
  // Stacks that all began at the same place of a page would share a few cache lines.
  context.uc_stack.ss_sp = new char[2 * stack] + begun * 320 % stack;
  context.uc_stack.ss_size = stack;
  makecontext(&context, body, 0);
  begun++;
  if (__builtin_setjmp(scheduler) == 0)
    setcontext(&context);
}

inline void wait(Barrier &b, unsigned n, bool yes) {
  b.yes += yes;
  if (++b.arrived == n) {
    b.counted = b.yes, b.arrived = b.yes = 0, b.generation++;
    return;
  }
  for (unsigned g = b.generation; g == b.generation;)
    leave(places[now], scheduler);
}
inline void whole_warp() { wait(warps[now / 32], 32, false); }
// Runs the threads of a block whose threads wait for each other.
inline void run_block(unsigned n) {
  memset(ended, 0, n);
  for (unsigned left = n; left;) {
    left = 0;
    for (now = 0; now < n; now++)
      if (!ended[now]) {
        threadIdx = {now, 0, 0};
        now < begun ? leave(scheduler, places[now]) : begin();
        left += !ended[now];
      }
  }
}
inline void run(void (*f)(void **), void **args, Index grid, unsigned n, bool together) {
  work = f, arguments = args, gridDim = grid, blockDim = {n, 1, 1};
  for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++)
    for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
      for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) {
        if (together) {
          run_block(n);
          continue;
        }
        for (threadIdx = {}; threadIdx.x < n; threadIdx.x++)
          f(args);
      }
}
} // namespace threads

inline void __syncthreads() { threads::wait(threads::block, blockDim.x, false); }

// device.cu.h
inline unsigned pack(float first, float second) {
  auto round = [](float x) {
    unsigned bits = __float_as_uint(x);
    return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  };
  return round(first) | round(second) << 16;
}
inline int block_count(bool yes) {
  threads::wait(threads::block, blockDim.x, yes);
  return threads::block.counted;
}
inline float shuffle_xor(float x, int mask) {
  using namespace threads;
  // By turns in two places: nobody is two calls ahead of who still reads.
  bool at = lanes[now].second = !lanes[now].second;
  lanes[now].numbers[at] = x;
  whole_warp();
  return lanes[now ^ mask].numbers[at];
}
inline void mma(float *c, const unsigned *a, unsigned b0, unsigned b1) {
  using namespace threads;
  for (int i = 0; i < 4; i++)
    lanes[now].words[i] = a[i];
  lanes[now].words[4] = b0, lanes[now].words[5] = b1;
  whole_warp();
  const Lane *of = &lanes[now / 32 * 32];
  auto half = [](unsigned word, int odd) { return __uint_as_float(odd ? word & 0xffff0000 : word << 16); };
  for (int i = 0; i < 4; i++) {
    int row = now % 32 / 4 + i / 2 * 8, column = now % 4 * 2 + i % 2;
    for (int k = 0; k < 16; k++)
      c[i] += half(of[row % 8 * 4 + k % 8 / 2].words[row / 8 + k / 8 * 2], k % 2) *
              half(of[column * 4 + k % 8 / 2].words[4 + k / 8], k % 2);
  }
  whole_warp();
}
