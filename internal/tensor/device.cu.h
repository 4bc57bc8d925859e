// What the kernels ask of the device itself. A test without a card has its own of
// these (third_party/cuda_stub/threads.h).
KERNELS(
// c += a·b by the 32 threads of a warp: a is 16 × 16, b 16 × 8, c 16 × 8. In
// thread 4g+t, the words of a hold the pairs of columns 2t and 2t+8 of rows g and
// g+8 (a[0] is row g, 2t; a[1] row g+8, 2t; a[2] row g, 2t+8), b0 and b1 those of
// rows 2t and 2t+8 of column g; c[0], c[1] are columns 2t and 2t+1 of row g, c[2],
// c[3] of row g+8 (PTX, mma.m16n8k16).
__device__ void mma(float *c, const unsigned *a, unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Two numbers as bfloat16, rounded to the nearest, ties to even; the first in the
// lower half.
__device__ unsigned pack(float first, float second) {
  unsigned two;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(second), "f"(first));
  return two;
}
// What the thread of the warp whose number differs in the bits of mask has as x.
__device__ float swapped(float x, int mask) { return __shfl_xor_sync(0xffffffff, x, mask); }
// Waits for all threads of the block; how many of them have yes.
__device__ int votes(bool yes) { return __syncthreads_count(yes); }
)
