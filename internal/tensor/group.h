// The processes of a run, and what they compute together, see group.go. Messages are NULL or allocated with malloc, and
// freed by the caller.
#pragma once
#include "bridge.h"

#ifdef __cplusplus
extern "C" {
#endif

// A connection to a store, which is made by its server. listener is a socket that the server listens on, or -1 for one
// of its own at port. These may be called from any thread.
char *mvag_store_open(void **out, const char *host, int port, bool server, int listener, int64_t timeout_ms,
                      const char *prefix);
char *mvag_store_set(void *store, const char *key, const void *value, size_t bytes);
char *mvag_store_get(void *store, const char *key, void **value, size_t *bytes); // NULL where there is no such key
char *mvag_store_add(void *store, const char *key, int64_t by, int64_t *sum);
void mvag_store_close(void *store);

// Joins rank to the group of size ranks that meet in a store. address is that of this process on the network, unless
// interface names a device of it.
char *mvag_group_join(void **out, void *store, int rank, int size, const char *address, const char *interface,
                      int64_t timeout_ms);
char *mvag_group_use(void *group, void *store, int device); // NCCL between the CUDA devices of all ranks
char *mvag_group_state(void *group);                        // what has failed in NCCL meanwhile; from any thread
void mvag_group_abort(void *group);                         // from any thread: what waits for others fails
bool mvag_group_failed(void *group);                        // something that involves others has; from any thread
void mvag_group_timeout(void *group, int64_t timeout_ms);
void mvag_group_leave(void *group);

// Every rank calls these with tensors of one shape and type, in the same order.
char *mvag_all_reduce(void *group, handle t);              // in place
char *mvag_all_gather(void *group, handle *out, handle t); // [size, …]
char *mvag_exchange(void *group, const void *mine, size_t bytes, void *all);
// Copies what each rank gives to rank 0, sizes[r] bytes at parts[r]; sizes are the same on all ranks.
char *mvag_gather(void *group, const void *mine, const size_t *sizes, void *const *parts);
char *mvag_checksum(handle *tensors, int n, int64_t *out); // of this rank's
char *mvag_reduce_gradients(void *group, handle *params, int n, handle flat, handle rounded);

#ifdef __cplusplus
}
#endif
