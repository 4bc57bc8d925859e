// Numbers in memory: float, or bfloat16 as unsigned short, two of them in a word.
KERNELS(
__device__ float load(const float *p) { return *p; }
__device__ float load(const unsigned short *p) { return __uint_as_float((unsigned)*p << 16); }
// x as bfloat16, rounded to the nearest, ties to even.
__device__ unsigned bfloat16(float x) {
  unsigned bits = __float_as_uint(x);
  return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
__device__ void store(float *p, float x) { *p = x; }
__device__ void store(unsigned short *p, float x) { *p = bfloat16(x); }
// Two numbers of bfloat16, the first in the lower half.
__device__ unsigned pack(float first, float second) { return bfloat16(first) | bfloat16(second) << 16; }
__device__ float first_of(unsigned two) { return __uint_as_float(two << 16); }
__device__ float second_of(unsigned two) { return __uint_as_float(two & 0xffff0000); }
// The sum of x over a warp, in each of its threads.
__device__ float warp_sum(float x) {
  for (int mask = 16; mask; mask /= 2)
    x += swapped(x, mask);
  return x;
}
)
