/* What NVIDIA's runtime headers take from the compiler's package. */
#define __host__
#define __device__
#define __global__
#define __device_builtin__
#define __device_builtin_texture_type__
#define __device_builtin_surface_type__
#define __cudart_builtin__
#define __builtin_align__(n) __attribute__((aligned(n)))
#define __align__(n) __attribute__((aligned(n)))
#define __location__(x)
#define CUDARTAPI
#define CUDARTAPI_CDECL
#define CUDA_CB
