/* NVIDIA's driver of one card, as far as LibTorch and the program ask it. */
#include <string.h>

int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return ordinal != 0; }
int cuDeviceGetName(char *name, int n, int device) { strncpy(name, "stub", n); return 0; }
int cuDeviceGetAttribute(int *v, int attribute, int device) { *v = attribute == 75 ? 9 : 0; return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0, *active = 1; return 0; }
int cuCtxGetCurrent(void **context) { *context = (void *)1; return 0; }
