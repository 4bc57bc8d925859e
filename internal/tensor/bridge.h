// What gotch's C shim lacks. Every function that can fail returns its error in the same call: NULL, or a message
// allocated with malloc that the caller frees.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// A handle is gotch's tensor: a pointer to a heap-allocated torch::Tensor.
typedef void *handle;

// Memory of tensors and of the arena.
void mvag_free_all(handle *slots, size_t n);
int mvag_sizes(handle t, int64_t *sizes, int capacity);
int mvag_device(handle t); // -1 for the CPU; gotch reads eight bytes of its four
char *mvag_from_data(handle *out, const void *data, size_t bytes, const int64_t *sizes, int ndim, int dtype,
                     int device);
char *mvag_upload(handle *out, const void *data, size_t bytes, const int64_t *sizes, int ndim, int dtype, int device);
char *mvag_to_host(handle t, void *data, size_t bytes);
char *mvag_item(handle t, double *out);
void mvag_keep_memory(void);
char *mvag_conv2d_exact(handle *out, handle x, handle w, int64_t padding);
char *mvag_gelu(handle *out, handle x); // gotch's leaks a string in each call
char *mvag_linear_add(handle *out, handle base, handle x, handle w, handle b);
char *mvag_linear_bfloat16(handle *out, handle x, handle w, handle b, bool gelu); // b may be NULL
char *mvag_add_norm(handle *out, handle x, handle y, handle bias, handle gamma, handle beta,
                    double eps); // y, bias may be NULL

// Our own CUDA kernels, see compile.go. The version of NVRTC and the n architectures that it compiles for, ascending
// (90 is sm_90); n is the capacity first. The image of a module: machine code for "sm_90", PTX for "compute_90", NULL
// or allocated with malloc. A device has the kernels of every module that was loaded for it.
char *mvag_nvrtc(int *major, int *minor, int *architectures, int *n);
char *mvag_compile(void **image, size_t *bytes, const char *source, const char *name, const char *architecture);
char *mvag_load_module(int device, const void *image);

// Where an operation below has fused, that asks for our kernels (on the CPU, our loops); else it is composed of
// LibTorch's operations.

// Before and after the matmul of an encoder's patches, see patches.go.
char *mvag_patches(handle *out, handle pixels, handle mean, handle std, int64_t side, bool fused);
char *mvag_place_patches(handle *out, handle x, handle table, int64_t images, bool fused);

// Random numbers by their position, see draws.go: of the number-th draw of a step with this seed, for the images of the
// whole batch from first on.
typedef struct {
  handle seed;
  int64_t first, number;
  bool fused;
} mvag_draw;
char *mvag_dropout(handle *out, handle x, double p, mvag_draw draw);
char *mvag_normal(handle *out, handle x, mvag_draw draw);

// Grad mode, gradients, custom gradients.
bool mvag_set_grad_mode(bool enabled);
char *mvag_require_grad(handle t);
char *mvag_grad(handle *out, handle t);
char *mvag_clear_grads(handle *params, int n);
char *mvag_backward(handle x, handle grad); // grad may be NULL for a scalar
char *mvag_scale_grad(handle *out, handle x, handle factor);

// Parts of linear attention, see attention.go.
char *mvag_split_heads(handle *out, handle qkv, handle bias, int64_t views, int64_t heads, bool fused);
char *mvag_merge_heads(handle *out, handle x, double eps, bool fused);
char *mvag_spread(handle *out, handle q, handle scale, bool fused);
// All of it; base and factor may be NULL.
typedef struct {
  double eps;
  int select; // 0 all tokens, 1 the lowest, 2 the highest
  int64_t count;
} mvag_attention;
char *mvag_attend(handle *out, handle qkv, handle bias, handle weights, handle base, handle factor, mvag_attention o);

// Precision of float32 matrix multiplications: highest, high or medium.
char *mvag_set_matmul_precision(const char *precision);

// LibTorch's random numbers, threads, devices.
void mvag_seed(int64_t seed);
void mvag_set_threads(int n);
int mvag_threads(void);
// The instructions that LibTorch's loops on the CPU use: AVX512.
const char *mvag_cpu_capability(void);
// Returns what was set before.
bool mvag_set_deterministic(bool on);
char *mvag_load_cuda(void);
int mvag_cuda_devices(void);
const char *mvag_library_path(void);
const char *mvag_header_version(void);

// Calls visit for each parameter and buffer of a TorchScript archive, by name. The visitor takes over the handle it
// gets.
char *mvag_jit_load(const char *path, uintptr_t visitor);

// A TorchScript archive that is run: forward(Tensor) -> List[Tensor], each passed to visit.
char *mvag_module_load(void **out, const char *path, int device);
char *mvag_module_forward(void *module, handle input, uintptr_t visitor);
void mvag_module_free(void *module);

// CUDA graphs, see graph.go. share is another graph of the device whose memory this one uses, or NULL. A capture that
// fails, in begin and end too, is to be abandoned.
char *mvag_graph_begin(void **out, int device, void *share);
char *mvag_graph_end(void *graph);
void mvag_graph_abandon(void *graph);
char *mvag_graph_replay(void *graph);
void mvag_graph_free(void *graph);

// One step of StableAdamW with amsgrad, see run.go.
typedef struct {
  double beta1, beta2, eps, clip;
  bool fused;
} mvag_adamw;
char *mvag_stable_adamw(handle *norm, handle *params, handle *m, handle *v, handle *vmax, int n, handle rates,
                        handle loss, mvag_adamw opt);

// Means over tensors and the losses of a group, by kernels, see losses.go. Bit i of masks[k]: xs[i] is in mean k.
char *mvag_means(handle *out, const int64_t *masks, int means, handle *xs, int n);
char *mvag_group_losses(handle *out, handle *members, int n, handle target, int64_t hard, double easy, int64_t all,
                        void *ranks); // of all images of the batch; ranks is a group (group.h), or NULL

#ifdef __cplusplus
}
#endif
