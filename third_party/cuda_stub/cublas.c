/* cuBLAS and cuBLASLt on the runtime of cudart.c: each product is one kernel. */
#include "cuda_runtime_api.h"

int mvag_stub_launch(void *stream, const char *name, unsigned blocks, unsigned threads);

static cudaStream_t stream;
static int handle;

static int product(cudaStream_t s) { return mvag_stub_launch(s, "product", 0, 0) ? 13 : 0; } /* CUBLAS_STATUS_EXECUTION_FAILED */
int mvag_stub_product(void) { return product(stream); }

int cublasCreate_v2(void **h) { *h = &handle; return 0; }
int cublasLtCreate(void **h) { *h = &handle; return 0; }
int cublasSetStream_v2(void *h, cudaStream_t s) { stream = s; return 0; }
int cublasGetStream_v2(void *h, cudaStream_t *s) { *s = stream; return 0; }
int cublasGetMathMode(void *h, int *mode) { *mode = 0; return 0; }
int cublasGetPointerMode_v2(void *h, int *mode) { *mode = 0; return 0; }
int cublasLtMatmulAlgoGetHeuristic(void *h, void *desc, void *a, void *b, void *c, void *d, void *preference,
                                   int wanted, void *results, int *found) {
  *found = 1;
  return 0;
}
int cublasLtMatmul(void *h, void *desc, void *alpha, void *a, void *da, void *b, void *db, void *beta, void *c,
                   void *dc, void *d, void *dd, void *algorithm, void *workspace, size_t bytes, cudaStream_t s) {
  return product(s);
}
