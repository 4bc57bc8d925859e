#ifndef MVAG_TABLES_H
#define MVAG_TABLES_H
// Arguments that kernels take by value, some of them tables of pointers. Kernels and the code that launches them share
// these types. The arguments of a kernel may take 4 KB in all.

// A parameter of n contiguous elements, its gradient and its moments; first is the first block of the launch that works
// on it.
struct Parameter {
  const float *g;
  float *p;
  float *m;
  float *v;
  float *vmax;
  unsigned n;
  unsigned first;
};
struct Parameters {
  Parameter of[64];
  unsigned count;
};
// Settings of StableAdamW that are the same in each step.
struct Betas {
  float b1;
  float b2;
  float one_minus_b1;
  float one_minus_b2;
  float eps;
};
// Tensors of one shape. Bit k of means[i]: tensor i is in mean k.
struct Members {
  const float *of[16];
  unsigned means[16];
  unsigned count;
};
// Where the means are written, and 1 over the number of their members.
struct Means {
  float *to[4];
  float share[4];
};
// The sizes of a group (losses.cu). An image of the target begins stride elements after the one before it; all is the
// number of images of all ranks, over which the means are taken.
struct Group {
  unsigned images;
  unsigned tokens;
  unsigned patches;
  unsigned c;
  unsigned stride;
  unsigned all;
};
#endif
