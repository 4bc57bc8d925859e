// Elements in memory: float, or bfloat16 as unsigned short, two of them in a word.

__device__ float load(const float *p) { return *p; }
__device__ float load(const unsigned short *p) { return __uint_as_float((unsigned)*p << 16); }
__device__ unsigned bfloat16(float x) { return pack(x, 0); }
__device__ void store(float *p, float x) { *p = x; }
__device__ void store(unsigned short *p, float x) { *p = bfloat16(x); }
__device__ float first_of(unsigned two) { return __uint_as_float(two << 16); }
__device__ float second_of(unsigned two) { return __uint_as_float(two & 0xffff0000); }
// The sum of x over a warp, in each of its threads.
__device__ float warp_sum(float x) {
  for (int mask = 16; mask; mask /= 2)
    x += shuffle_xor(x, mask);
  return x;
}
