// Dropout and noise by the position of their elements (philox.h). A thread for each block of Philox: four elements, 16
// apart from each other.

// Calls work(i, word) for the elements of d that the thread draws, i < d.count.
template <class F> __device__ void each_word(const Drawing &d, const unsigned *words, F work) {
  unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  // Elements before the first wrap to indices that are too large.
  unsigned i = thread / 16 * 64 + thread % 16 - (unsigned)(d.start % 64);
#pragma unroll
  for (unsigned w = 0; w < 4; w++, i += 16) {
    if (i < d.count)
      work(i, words[w]);
  }
}
__device__ Words words_of(const Drawing &d) {
  unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  return philox((unsigned long long)*d.seed, d.start / 64 * 16 + thread, d.number);
}

template <class T> __device__ void dropout(const T *x, T *out, const Drawing &d, unsigned least, float scale) {
  Words words = words_of(d);
  each_word(d, words.of,
            [&](unsigned i, unsigned word) { store(out + i, word >= least ? load(x + i) * scale : 0.0f); });
}
extern "C" __global__ void dropout_float(const float *x, float *out, Drawing d, unsigned least, float scale) {
  dropout(x, out, d, least, scale);
}
extern "C" __global__ void dropout_bfloat16(const unsigned short *x, unsigned short *out, Drawing d, unsigned least,
                                            float scale) {
  dropout(x, out, d, least, scale);
}

extern "C" __global__ void normal(float *out, Drawing d) {
  Words words = words_of(d);
  float values[4];
  normals(words.of[0], words.of[1], values, values + 1);
  normals(words.of[2], words.of[3], values + 2, values + 3);
  unsigned bits[4];
#pragma unroll
  for (unsigned w = 0; w < 4; w++)
    bits[w] = __float_as_uint(values[w]);
  each_word(d, bits, [&](unsigned i, unsigned word) { out[i] = __uint_as_float(word); });
}
