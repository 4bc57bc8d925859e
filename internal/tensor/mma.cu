// Matrix multiplication by the tensor cores, from compute capability 8.0 on.

// c += a·b by the 32 threads of a warp: a is 16 × 16, b 16 × 8, c 16 × 8. In thread 4g+t, the words of a hold the pairs
// of columns 2t and 2t+8 of rows g and g+8 (a[0] is row g, 2t; a[1] row g+8, 2t; a[2] row g, 2t+8), b0 and b1 those of
// rows 2t and 2t+8 of column g; c[0], c[1] are columns 2t and 2t+1 of row g, c[2], c[3] of row g+8 (PTX, mma.m16n8k16).
__device__ void mma(float *c, const unsigned *a, unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, "
               "%1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
