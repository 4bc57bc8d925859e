/* cuBLAS and cuBLASLt on the runtime of cudart.c: each matmul is one kernel.
 *
 * MVAG_STUB_EXACT=1 has matmuls of cuBLAS refused that may be computed in TF32. */
#include <stdlib.h>

#include "cuda_runtime_api.h"

int mvag_stub_launch(void *stream, const char *name, unsigned blocks, unsigned threads);

static cudaStream_t stream;
static int handle, math;

static int matmul(cudaStream_t s) {
  return mvag_stub_launch(s, "matmul", 0, 0) ? 13 : 0;
} /* CUBLAS_STATUS_EXECUTION_FAILED */
int mvag_stub_matmul(void) {
  if (math == 3 && getenv("MVAG_STUB_EXACT")) /* CUBLAS_TF32_TENSOR_OP_MATH */
    return 15;                                /* CUBLAS_STATUS_NOT_SUPPORTED */
  return matmul(stream);
}

int cublasSetMathMode(void *h, int mode) {
  math = mode;
  return 0;
}

int cublasCreate_v2(void **h) {
  *h = &handle;
  return 0;
}
int cublasLtCreate(void **h) {
  *h = &handle;
  return 0;
}
int cublasSetStream_v2(void *h, cudaStream_t s) {
  stream = s;
  return 0;
}
int cublasGetStream_v2(void *h, cudaStream_t *s) {
  *s = stream;
  return 0;
}
int cublasGetMathMode(void *h, int *mode) {
  *mode = 0;
  return 0;
}
int cublasGetPointerMode_v2(void *h, int *mode) {
  *mode = 0;
  return 0;
}
int cublasLtMatmulAlgoGetHeuristic(void *h, void *desc, void *a, void *b, void *c, void *d, void *preference,
                                   int wanted, void *results, int *found) {
  *found = 1;
  return 0;
}
int cublasLtMatmul(void *h, void *desc, void *alpha, void *a, void *da, void *b, void *db, void *beta, void *c,
                   void *dc, void *d, void *dd, void *algorithm, void *workspace, size_t bytes, cudaStream_t s) {
  return matmul(s);
}
