// What the driver and LibTorch tell about CUDA devices. Messages are NULL or allocated with malloc, and freed by the
// caller.
#pragma once
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int mvag_driver_version(void); // 12040 for CUDA 12.4; 0 without driver
bool mvag_device_name(int index, char *name, int length, int *major, int *minor);
char *mvag_device_memory(int index, uint64_t *free, uint64_t *total);
char *mvag_device_use(int index, uint64_t *now, uint64_t *peak);

#ifdef __cplusplus
}
#endif
