// Loops over the elements of a tensor on the CPU.
#pragma once
#include "libtorch.h"

#include <algorithm>
#include <cstdint>

#include <ATen/Parallel.h>

// Calls work(chunk, from, to) for n elements in chunks of this size, in parallel: what is done in a chunk does not
// depend on the number of threads.
template <class F> void each_chunk(int64_t n, int64_t size, F work) {
  int64_t chunks = (n + size - 1) / size;
  at::parallel_for(0, chunks, 1, [&](int64_t from, int64_t to) {
    for (int64_t c = from; c < to; c++)
      work(c, c * size, std::min(n, (c + 1) * size));
  });
}
