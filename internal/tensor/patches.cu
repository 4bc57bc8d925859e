// Images to the tokens of an encoder (patches.hpp).

// pixels [B, 3, H, W] to the rows of a matmul: patches [B·P, K] of bfloat16, normalised by means and std [3], in rows ·
// columns patches an image. K is 3·side² rounded up to a multiple of 8 with zeros; a thread writes eight elements.
extern "C" __global__ void patches(const unsigned char *pixels, const float *means, const float *std,
                                   unsigned short *out, unsigned count, unsigned k, unsigned side, unsigned rows,
                                   unsigned columns) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count)
    return;
  unsigned patch = i / (k / 8);
  unsigned first = i % (k / 8) * 8;
  unsigned b = patch / (rows * columns);
  unsigned at = patch % (rows * columns);
  unsigned width = columns * side;
  float x[8];
#pragma unroll
  for (unsigned j = 0; j < 8; j++) {
    unsigned channel = (first + j) / (side * side);
    unsigned y = (first + j) / side % side;
    x[j] = 0;
    if (channel < 3) {
      unsigned row = ((b * 3 + channel) * rows + at / columns) * side + y;
      x[j] = (pixels[row * width + at % columns * side + (first + j) % side] * (1 / 255.0f) - means[channel]) /
             std[channel];
    }
  }
  uint4 words = {pack(x[0], x[1]), pack(x[2], x[3]), pack(x[4], x[5]), pack(x[6], x[7])};
  *(uint4 *)(out + i * 8) = words;
}

// out [B, N, C] = table [N, C], to the last P rows of which x [B, P, C] is added. A thread writes four elements; count
// is the number of threads.
extern "C" __global__ void place(const unsigned short *x, const float *table, float *out, unsigned count, unsigned n,
                                 unsigned p, unsigned c) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count)
    return;
  unsigned token = i / (c / 4);
  unsigned at = token % n;
  unsigned column = i % (c / 4) * 4;
  float4 to = *(const float4 *)(table + at * c + column);
  if (at >= n - p) {
    float of[4];
    unpack(*(const uint2 *)(x + (token / n * p + at - (n - p)) * c + column), of);
    to.x += of[0], to.y += of[1], to.z += of[2], to.w += of[3];
  }
  *(float4 *)(out + i * 4) = to;
}
