// What kernels take by value, some of it tables of pointers: the same for the kernels
// and for who launches them. A kernel's arguments may have 4 KB in all.
KERNELS(
// A parameter of n contiguous numbers, its gradient and its moments; first is the
// first block of a launch that is for it.
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
// What no step changes of StableAdamW; rest1 is 1 - beta1.
struct Betas {
  float b1;
  float b2;
  float rest1;
  float rest2;
  float eps;
};
// Tensors of one shape whose means are taken, each in those that the bits of its
// number in means say.
struct Members {
  const float *of[16];
  unsigned means[16];
  unsigned count;
};
// Where means go, and 1 over the number of their members.
struct Means {
  float *to[4];
  float share[4];
};
// The sizes of a group (losses.cu.h). A picture of the target begins stride numbers
// after the one before it.
struct Group {
  unsigned pictures;
  unsigned tokens;
  unsigned patches;
  unsigned c;
  unsigned stride;
};
)
