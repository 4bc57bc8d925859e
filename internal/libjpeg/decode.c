//go:build libjpeg && cgo

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "decode.h"

#ifndef LIBJPEG_TURBO_VERSION
#error "want libjpeg-turbo, have another libjpeg"
#endif

// The first error or warning ends the work.
typedef struct {
	struct jpeg_error_mgr base;
	jmp_buf stop;
	char *text;
} failure;

static void fail(j_common_ptr j) {
	failure *f = (failure *)j->err;
	char text[JMSG_LENGTH_MAX];
	f->base.format_message(j, text);
	snprintf(f->text, sizeof ((jpeg_picture *)0)->error, "%s", text);
	longjmp(f->stop, 1);
}

// Warnings are of damaged data, but for those of bytes that mean nothing.
static void warn(j_common_ptr j, int level) {
	int code = j->err->msg_code;
	if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR)
		fail(j);
}

jpeg_picture jpeg_decode(const uint8_t *data, size_t n, int scale, uint8_t *out, size_t room) {
	jpeg_picture p;
	struct jpeg_decompress_struct d;
	failure f;
	memset(&p, 0, sizeof p);
	d.err = jpeg_std_error(&f.base);
	f.base.error_exit = fail;
	f.base.emit_message = warn;
	f.text = p.error;
	if (setjmp(f.stop)) {
		jpeg_destroy_decompress(&d);
		return p;
	}
	jpeg_create_decompress(&d);
	jpeg_mem_src(&d, data, n);
	jpeg_read_header(&d, TRUE);
	d.scale_num = scale;
	d.scale_denom = 8;
	switch (d.jpeg_color_space) {
	case JCS_GRAYSCALE:
		break;
	case JCS_CMYK:
	case JCS_YCCK:
		d.out_color_space = JCS_CMYK;
		break;
	default:
		d.out_color_space = JCS_RGB;
	}
	jpeg_start_decompress(&d);
	p.width = d.output_width;
	p.height = d.output_height;
	p.channels = d.output_components;
	size_t row = (size_t)p.width * p.channels;
	if (row * p.height > room) {
		snprintf(p.error, sizeof p.error, "have %dx%d pixels of %d channels, want at most %zu bytes", p.width, p.height, p.channels, room);
		longjmp(f.stop, 1);
	}
	while (d.output_scanline < d.output_height) {
		JSAMPROW line = out + d.output_scanline * row;
		jpeg_read_scanlines(&d, &line, 1);
	}
	jpeg_finish_decompress(&d);
	jpeg_destroy_decompress(&d);
	return p;
}
