/* A CUDA runtime without a GPU, for tests of what the program and LibTorch ask
 * of it. "Device" memory is the host's; copies are made; kernels are counted and
 * not run, so values mean nothing. While a graph is captured, it refuses what
 * CUDA refuses then: waiting for the device, copies to the host, allocations that
 * are not excepted, work on another stream.
 *
 * MVAG_STUB_FAIL=n has the n-th operation of each capture refused.
 * MVAG_STUB_LIST=1 prints the kernels of each capture: blocks, threads, name. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_runtime_api.h"

#define OK cudaSuccess
typedef cudaError_t E;

struct CUstream_st {
  int capturing, refused;
  unsigned long long id;
  long operations;
};

static struct CUstream_st legacy; /* the default stream */
static struct CUstream_st *capturing;
static __thread enum cudaStreamCaptureMode mode;
static __thread E last;

static struct CUstream_st *of(cudaStream_t s) { return s ? s : &legacy; }

static E refuse(const char *what) {
  fprintf(stderr, "cuda stub: %s while a graph is captured\n", what);
  capturing->refused = 1;
  return last = cudaErrorStreamCaptureUnsupported;
}

/* For what must not happen while a graph is captured, unless the thread says so. */
#define WAITS(what)                                                                                                    \
  do {                                                                                                                 \
    if (capturing && mode != cudaStreamCaptureModeRelaxed)                                                             \
      return refuse(what);                                                                                             \
  } while (0)

/* For work on a stream. */
static E enqueue(cudaStream_t s, const char *what) {
  if (!capturing)
    return OK;
  if (of(s) != capturing)
    return refuse(what);
  const char *fail = getenv("MVAG_STUB_FAIL");
  if (fail && ++capturing->operations == atol(fail))
    return refuse("an operation that was to fail");
  return OK;
}

/* cuDNN would find no GPU behind this runtime. */
static void without_cudnn(void) {
  void *(*context)(void) = (void *(*)(void))dlsym(RTLD_DEFAULT, "_ZN2at13globalContextEv");
  const char *settings[] = {"_ZN2at7Context19setUserEnabledCuDNNEb", "_ZN2at7Context14setSDPUseCuDNNEb"};
  for (int i = 0; i < 2; i++) {
    void (*set)(void *, int) = (void (*)(void *, int))dlsym(RTLD_DEFAULT, settings[i]);
    if (context && set)
      set(context(), 0);
    else
      fprintf(stderr, "cuda stub: LibTorch has no %s\n", settings[i]);
  }
}

/* Devices. */
E cudaGetDeviceCount(int *n) {
  static int once;
  if (!once++)
    without_cudnn();
  *n = 1;
  return OK;
}
E cudaGetDevice(int *d) {
  *d = 0;
  return OK;
}
E cudaDriverGetVersion(int *v) {
  *v = CUDART_VERSION;
  return OK;
}
E cudaRuntimeGetVersion(int *v) {
  *v = CUDART_VERSION;
  return OK;
}
E cudaGetDeviceProperties(struct cudaDeviceProp *p, int d) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "stub");
  p->major = 9;
  p->multiProcessorCount = 132, p->warpSize = 32;
  p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048, p->maxBlocksPerMultiProcessor = 32;
  p->sharedMemPerBlock = 48 << 10, p->sharedMemPerBlockOptin = 227 << 10, p->sharedMemPerMultiprocessor = 228 << 10;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->totalGlobalMem = 80ul << 30, p->l2CacheSize = 50 << 20;
  p->maxGridSize[0] = 0x7fffffff, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
  p->textureAlignment = 512;
  return OK;
}
E cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr a, int d) {
  struct cudaDeviceProp p;
  cudaGetDeviceProperties(&p, d);
  switch (a) {
  case cudaDevAttrComputeCapabilityMajor:
    *v = p.major;
    break;
  case cudaDevAttrComputeCapabilityMinor:
    *v = p.minor;
    break;
  case cudaDevAttrMultiProcessorCount:
    *v = p.multiProcessorCount;
    break;
  case cudaDevAttrWarpSize:
    *v = p.warpSize;
    break;
  case cudaDevAttrMaxSharedMemoryPerBlock:
    *v = p.sharedMemPerBlock;
    break;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin:
    *v = p.sharedMemPerBlockOptin;
    break;
  case cudaDevAttrMaxThreadsPerMultiProcessor:
    *v = p.maxThreadsPerMultiProcessor;
    break;
  default:
    *v = 1024;
  }
  return OK;
}
E cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  *least = *greatest = 0;
  return OK;
}
E cudaDeviceSynchronize(void) {
  WAITS("cudaDeviceSynchronize");
  return OK;
}

/* Memory. */
static E allocate(void **p, size_t n) {
  *p = calloc(1, n);
  return *p ? OK : cudaErrorMemoryAllocation;
}
E cudaMalloc(void **p, size_t n) {
  WAITS("cudaMalloc");
  return allocate(p, n);
}
E cudaFree(void *p) {
  WAITS("cudaFree");
  free(p);
  return OK;
}
E cudaHostAlloc(void **p, size_t n, unsigned flags) {
  WAITS("cudaHostAlloc");
  return allocate(p, n);
}
E cudaFreeHost(void *p) {
  WAITS("cudaFreeHost");
  free(p);
  return OK;
}
E cudaMemGetInfo(size_t *free, size_t *total) {
  *free = 79ul << 30, *total = 80ul << 30;
  return OK;
}
E cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind kind) {
  WAITS("cudaMemcpy");
  memmove(to, from, n);
  return OK;
}
E cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t s) {
  if (capturing && kind == cudaMemcpyDeviceToHost)
    return refuse("a copy to the host");
  memmove(to, from, n);
  return enqueue(s, "a copy on another stream");
}
E cudaMemset(void *to, int v, size_t n) {
  WAITS("cudaMemset");
  memset(to, v, n);
  return OK;
}
E cudaMemsetAsync(void *to, int v, size_t n, cudaStream_t s) {
  memset(to, v, n);
  return enqueue(s, "a fill on another stream");
}
E cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  memset(a, 0, sizeof *a);
  a->type = cudaMemoryTypeHost;
  a->devicePointer = a->hostPointer = (void *)p;
  return OK;
}
E cudaGetSymbolAddress(void **p, const void *symbol) {
  *p = (void *)symbol;
  return OK;
}

/* Streams and events. All work is over at once. */
E cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority) {
  return allocate((void **)s, sizeof legacy);
}
E cudaStreamSynchronize(cudaStream_t s) {
  WAITS("cudaStreamSynchronize");
  return OK;
}
E cudaStreamQuery(cudaStream_t s) {
  WAITS("cudaStreamQuery");
  return OK;
}
E cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags) { return allocate((void **)e, 1); }
E cudaEventCreate(cudaEvent_t *e) { return allocate((void **)e, 1); }
E cudaEventDestroy(cudaEvent_t e) {
  free(e);
  return OK;
}
E cudaEventQuery(cudaEvent_t e) {
  WAITS("cudaEventQuery");
  return OK;
}
E cudaEventSynchronize(cudaEvent_t e) {
  WAITS("cudaEventSynchronize");
  return OK;
}

/* Graphs. */
E cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode m) {
  static unsigned long long ids;
  if (!s)
    return last = cudaErrorStreamCaptureUnsupported;
  capturing = s;
  s->capturing = 1, s->refused = 0, s->operations = 0, s->id = ++ids;
  return OK;
}
E cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) {
  if (!of(s)->capturing)
    return last = cudaErrorIllegalState;
  of(s)->capturing = 0;
  capturing = NULL;
  *g = NULL;
  if (of(s)->refused)
    return last = cudaErrorStreamCaptureInvalidated;
  return allocate((void **)g, 1);
}
E cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) {
  *status = !of(s)->capturing ? cudaStreamCaptureStatusNone
            : of(s)->refused  ? cudaStreamCaptureStatusInvalidated
                              : cudaStreamCaptureStatusActive;
  return OK;
}
E cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus *status, unsigned long long *id, cudaGraph_t *g,
                           const cudaGraphNode_t **dependencies, const cudaGraphEdgeData **edges, size_t *n) {
  if (id)
    *id = of(s)->id;
  return cudaStreamIsCapturing(s, status);
}
E cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *m) {
  enum cudaStreamCaptureMode before = mode;
  mode = *m, *m = before;
  return OK;
}
E cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *n) {
  *n = 1;
  return OK;
}
E cudaGraphInstantiateWithFlags(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long flags) {
  return allocate((void **)x, 1);
}
E cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s) { return enqueue(s, "a graph"); }
E cudaGraphDestroy(cudaGraph_t g) {
  free(g);
  return OK;
}
E cudaGraphExecDestroy(cudaGraphExec_t x) {
  free(x);
  return OK;
}

/* Kernels. */
static struct kernel {
  const void *f;
  const char *name;
} *kernels;
static size_t registered;
static int by_address(const void *a, const void *b) {
  const char *x = ((const struct kernel *)a)->f, *y = ((const struct kernel *)b)->f;
  return (x > y) - (x < y);
}
void __cudaRegisterFunction(void **binary, const char *f, char *stub, const char *name, int limit, void *tid, void *bid,
                            void *block, void *grid, int *warp) {
  if (registered % 4096 == 0)
    kernels = realloc(kernels, (registered + 4096) * sizeof *kernels);
  kernels[registered++] = (struct kernel){f, name};
}
static void list(const char *name, unsigned blocks, unsigned threads) {
  if (capturing && getenv("MVAG_STUB_LIST"))
    printf("kernel %u %u %s\n", blocks, threads, name);
}
static void list_registered(const void *f, dim3 grid, dim3 block) {
  static size_t sorted;
  if (sorted != registered)
    qsort(kernels, sorted = registered, sizeof *kernels, by_address);
  struct kernel wanted = {f}, *k = bsearch(&wanted, kernels, registered, sizeof wanted, by_address);
  list(k ? k->name : "?", grid.x * grid.y * grid.z, block.x * block.y * block.z);
}
int mvag_stub_launch(void *stream, const char *name, unsigned blocks, unsigned threads) {
  list(name, blocks, threads);
  return enqueue(stream, "a kernel on another stream");
}
E cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
  memset(a, 0, sizeof *a);
  a->maxThreadsPerBlock = 1024, a->numRegs = 32;
  a->binaryVersion = a->ptxVersion = 90;
  return OK;
}
E cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f, int threads, size_t shared,
                                                         unsigned flags) {
  *n = 2;
  return OK;
}
E cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t s) {
  list_registered(f, grid, block);
  return enqueue(s, "a kernel on another stream");
}
E cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **args) {
  return cudaLaunchKernel(f, c->gridDim, c->blockDim, args, 0, c->stream);
}
E __cudaLaunchKernel(cudaKernel_t k, dim3 grid, dim3 block, void **args, size_t shared, cudaStream_t s) {
  return cudaLaunchKernel(k, grid, block, args, shared, s);
}
E __cudaGetKernel(cudaKernel_t *k, const void *f) {
  *k = (cudaKernel_t)f;
  return OK;
}
static __thread struct {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
} call;
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st *s) {
  call.grid = grid, call.block = block, call.shared = shared, call.stream = s;
  return 0;
}
E __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *s) {
  *grid = call.grid, *block = call.block, *shared = call.shared, *(cudaStream_t *)s = call.stream;
  return OK;
}
void **__cudaRegisterFatBinary(void *binary) {
  static void *all;
  return &all;
}

/* Errors, and the driver's functions that LibTorch asks for by name. */
const char *cudaGetErrorName(E e) {
  static __thread char text[32];
  snprintf(text, sizeof text, "error %d", e);
  return text;
}
const char *cudaGetErrorString(E e) { return cudaGetErrorName(e); }
E cudaGetLastError(void) {
  E e = last;
  last = OK;
  return e;
}
E cudaPeekAtLastError(void) { return last; }
static int nothing(void) { return 0; }
static int active(int device, unsigned *flags, int *is) {
  *flags = 0, *is = 1;
  return 0;
}
E cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned version, unsigned long long flags,
                                   enum cudaDriverEntryPointQueryResult *found) {
  *f = strcmp(name, "cuDevicePrimaryCtxGetState") ? (void *)nothing : (void *)active;
  if (found)
    *found = cudaDriverEntryPointSuccess;
  return OK;
}
E cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void *data, unsigned flags) {
  f(s, OK, data);
  return OK;
}
E cudaDeviceGetPCIBusId(char *id, int n, int d) {
  snprintf(id, n, "0000:00:00.0");
  return OK;
}
E cudaDeviceCanAccessPeer(int *can, int a, int b) {
  *can = 0;
  return OK;
}
E cudaMemcpyToSymbol(const void *symbol, const void *from, size_t n, size_t at, enum cudaMemcpyKind kind) { return OK; }
E cudaSetDevice(int d) { return OK; }
E cudaStreamDestroy(cudaStream_t s) { return OK; }
E cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags) { return OK; }
E cudaEventRecord(cudaEvent_t e, cudaStream_t s) { return OK; }
E cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned flags) { return OK; }
