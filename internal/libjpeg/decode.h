#include <stddef.h>
#include <stdint.h>

// What jpeg_decode found and did.
typedef struct {
	int width, height; // of out
	int channels;      // 1 gray, 3 RGB, 4 CMYK as it is stored
	char error[200];   // "" where all went well
} jpeg_picture;

// jpeg_decode decodes the n bytes of a JPEG at scale eighths of its size, with
// the settings that are libjpeg's defaults (accurate inverse DCT, interpolated
// chroma), into out, row by row, where there is room for that many bytes.
jpeg_picture jpeg_decode(const uint8_t *data, size_t n, int scale, uint8_t *out, size_t room);
