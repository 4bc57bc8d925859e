#ifndef MVAG_PHILOX_H
#define MVAG_PHILOX_H
// Random numbers that depend on where they are, and on nothing that was drawn before. Kernels (random.cu) and the loops
// of the CPU (random.hpp) share this file.
//
// The element of index e of the number-th tensor that is drawn in a step has one of the four words of a block of Philox
// 4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011):
//
//     e = 64·g + 16·w + j      word w of the block whose counter is (16·g + j, number, 0)
//     counter                  16·g + j in two words, the lower first
//     key                      the seed of the step, the lower half first
//
// So 16 blocks that follow each other fill 64 elements, word by word, and vectors need no transposition. e counts the
// elements of the whole batch: a part of it begins at start.

// A tensor of count elements to draw, or the part of one that begins at index start.
struct Drawing {
  const long long *seed; // on the device that draws
  unsigned long long start;
  unsigned count;
  unsigned number; // of the draws of the step before
};

struct Words {
  unsigned of[4];
};

__device__ Words philox(unsigned long long key, unsigned long long counter, unsigned number) {
  unsigned k0 = (unsigned)key;
  unsigned k1 = (unsigned)(key >> 32);
  unsigned c0 = (unsigned)counter;
  unsigned c1 = (unsigned)(counter >> 32);
  unsigned c2 = number;
  unsigned c3 = 0;
  for (int round = 0; round < 10; round++) {
    unsigned long long a = 0xD2511F53ull * c0;
    unsigned long long b = 0xCD9E8D57ull * c2;
    c0 = (unsigned)(b >> 32) ^ c1 ^ k0;
    c1 = (unsigned)b;
    c2 = (unsigned)(a >> 32) ^ c3 ^ k1;
    c3 = (unsigned)a;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

// The logarithm of x > 0, which is no denormal number, by Cephes' polynomial around 1.
__device__ float logarithm(float x) {
  unsigned bits = __float_as_uint(x);
  int power = (int)(bits - 0x3f3504f3) >> 23; // x = 2^power · (1 + f), 1 + f from √½ to √2
  float f = __uint_as_float(bits - ((unsigned)power << 23)) - 1;
  float y = 7.0376836292e-2f;
  y = y * f - 1.1514610310e-1f;
  y = y * f + 1.1676998740e-1f;
  y = y * f - 1.2420140846e-1f;
  y = y * f + 1.4249322787e-1f;
  y = y * f - 1.6668057665e-1f;
  y = y * f + 2.0000714765e-1f;
  y = y * f - 2.4999993993e-1f;
  y = y * f + 3.3333331174e-1f;
  float p = (float)power;
  y = y * f * f * f - 2.12194440e-4f * p - 0.5f * f * f;
  return f + y + 0.693359375f * p;
}

// The square root of x ≥ 0 by Newton's steps to 1/√x. The compiler of the CPU makes no vectors of sqrtf.
__device__ float root(float x) {
  float y = __uint_as_float(0x5f375a86 - (__float_as_uint(x) >> 1));
  for (int step = 0; step < 3; step++)
    y *= 1.5f - 0.5f * x * y * y;
  return x * y;
}

// Two standard normal values of two words by Box and Muller: the radius of u = (a + ½) / 2^32, the angle 2π·b / 2^32.
__device__ void normals(unsigned a, unsigned b, float *x, float *y) {
  float u = (float)a * 0x1p-32f + 0x1p-33f;
  float radius = root(-2 * logarithm(u));
  unsigned quarter = (b + 0x20000000) >> 30; // the angle is quarter * pi/2 + t, -pi/4 <= t <= pi/4
  float t = (float)(int)(b - (quarter << 30)) * 1.4629180792671596e-9f; // 2π / 2^32
  float z = t * t;
  float c = (2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f;
  c = c * z * z - 0.5f * z + 1;
  float s = (-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f;
  s = s * z * t + t;
  float turned = quarter & 1 ? s : c;
  float other = quarter & 1 ? c : s;
  *x = __uint_as_float(__float_as_uint(turned) ^ ((quarter + 1 & 2) << 30)) * radius;
  *y = __uint_as_float(__float_as_uint(other) ^ ((quarter & 2) << 30)) * radius;
}
#endif
