package dataset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// otherKinds are the beginnings of files that people take for images which can be read. "?" is any byte.
var otherKinds = []struct{ magic, name string }{
	{"II+\x00", "BigTIFF (offsets of 64 bits)"}, {"MM\x00+", "BigTIFF (offsets of 64 bits)"},
	{"GIF8", "GIF"}, {"????ftypavif", "AVIF"}, {"????ftyp", "HEIC"}, {"8BPS", "Photoshop"}, {"%PDF", "PDF"},
	{"\x00\x00\x00\x0cjP  ", "JPEG 2000"}, {"\xff\x4f\xff\x51", "JPEG 2000"},
	{"\x00\x00\x00\x0cJXL ", "JPEG XL"}, {"\xff\x0a", "JPEG XL"},
	{"v/1\x01", "OpenEXR"}, {"P4\n", "PBM"}, {"P5\n", "PGM"}, {"P6\n", "PPM"}, {"\x93NUMPY", "NumPy"},
	{"version https://git-lfs", "a Git LFS pointer, not the image itself (git lfs pull)"},
}

// foreignKind is the error for data that is in no format that is read.
func foreignKind(data []byte) error {
	const want = "want JPEG, PNG, BMP, classic TIFF or WebP"
	if len(data) == 0 {
		return errors.New("the file is empty")
	}
	for _, f := range otherKinds {
		if startsWith(data, f.magic) {
			return fmt.Errorf("%s, %s", f.name, want)
		}
	}
	return errors.New("not a JPEG, PNG, BMP, TIFF or WebP image")
}

// refused returns an error that names the kind of a file which its decoder would not read, or would read wrongly.
func (c *codec) refused(data []byte) error {
	switch c.name {
	case "JPEG":
		return refusedJPEG(data)
	case "BMP":
		return refusedBMP(data)
	case "TIFF":
		return refusedTIFF(data)
	case "WebP":
		const animated = 1 << 1
		if head := chunk(data[12:], binary.LittleEndian, "VP8X"); len(head) > 0 && head[0]&animated != 0 {
			return errors.New("WebP: have an animation, want one image")
		}
	}
	return nil
}

// startOfFrame returns the marker of a JPEG's frame header and its content: bits per value, height, width and number of
// channels.
func startOfFrame(data []byte) (marker byte, content []byte) {
	for marker, content := range segments(data) {
		notFrames := []byte{0xc4, 0xc8, 0xcc} // tables
		frame := marker >= 0xc0 && marker <= 0xcf && !slices.Contains(notFrames, marker) || marker == 0xf7
		if frame && len(content) >= 6 {
			return marker, content
		}
	}
	return 0, nil
}

func refusedJPEG(data []byte) error {
	marker, frame := startOfFrame(data)
	switch {
	case frame == nil: // the decoder says why
		return nil
	case marker == 0xf7:
		return errors.New("JPEG-LS, want a JPEG of discrete cosine transform")
	case marker == 0xc3 || marker == 0xcb:
		return errors.New("lossless JPEG, want one of discrete cosine transform")
	case marker >= 0xc9:
		return errors.New("JPEG: have arithmetic coding, want Huffman coding")
	case marker >= 0xc5:
		return errors.New("JPEG: have hierarchical coding, want sequential or progressive")
	case frame[0] != 8:
		return fmt.Errorf("JPEG: have %d bits per value, want 8", frame[0])
	}
	return nil
}

func refusedBMP(data []byte) error {
	const bits, compression = 28, 30 // offsets in a header of 40 bytes or more
	if len(data) < 34 || binary.LittleEndian.Uint32(data[14:]) < 40 {
		return nil
	}
	if n := binary.LittleEndian.Uint16(data[bits:]); n == 16 {
		return errors.New("BMP: have 16 bits per pixel, want 1, 2, 4, 8, 24 or 32")
	}
	names := map[uint32]string{1: "run-length coding", 2: "run-length coding", 4: "a JPEG inside", 5: "a PNG inside"}
	if name := names[binary.LittleEndian.Uint32(data[compression:])]; name != "" {
		return fmt.Errorf("BMP: have %s, want no compression", name)
	}
	return nil
}

// Names of values of a TIFF's tags.
var (
	tiffCompressions = map[int]string{
		2: "fax compression", 3: "fax compression", 4: "fax compression", 6: "JPEG inside", 7: "JPEG inside",
		34712: "JPEG 2000 inside", 34887: "LERC compression", 34925: "LZMA compression",
		34926: "Zstandard compression", 50000: "Zstandard compression", 50001: "WebP inside", 50002: "JPEG XL inside",
	}
	tiffColours = map[int]string{
		4: "a transparency mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab", 9: "CIELab", 10: "CIELab",
		32803: "the raw pixels of a colour sensor", 34892: "the raw pixels of a colour sensor",
	}
	tiffSamples = map[int]string{2: "signed integers", 3: "floating-point values", 5: "complex values", 6: "complex values"}
)

// refusedTIFF looks at the first image of the file, the one that is read.
func refusedTIFF(data []byte) error {
	tag := func(number uint16, missing int) int {
		if v, _, ok := tiffValue(data, number); ok {
			return v
		}
		return missing
	}
	const (
		bits, compression, colour, order, samples, planes, format = 258, 259, 262, 266, 277, 284, 339
		one, rgb                                                  = 1, 2
	)
	channels, sample, colours := tag(samples, one), tag(bits, one), tag(colour, 0)
	switch name := tiffCompressions[tag(compression, one)]; {
	case name != "":
		return fmt.Errorf("TIFF: have %s, want no compression, LZW, deflate or PackBits", name)
	case tiffColours[colours] != "":
		return fmt.Errorf("TIFF: have %s, want grayscale, palette or RGB", tiffColours[colours])
	case tiffSamples[tag(format, one)] != "":
		return fmt.Errorf("TIFF: have %s, want integers without a sign", tiffSamples[tag(format, one)])
	case tag(planes, one) == 2 && channels > 1:
		return errors.New("TIFF: have planes one after the other (planar), want the channels of a pixel together")
	case colours != rgb && channels > 1:
		return fmt.Errorf("TIFF: have grayscale or palette with %d channels, want one (no alpha)", channels)
	case !slices.Contains([]int{0, 1, 8, 16}, sample): // 0 is an error of the decoder
		return fmt.Errorf("TIFF: have %d bits per value, want 1, 8 or 16", sample)
	case sample == 1 && tag(order, one) == 2:
		return errors.New("TIFF: have the bits of a byte in reverse order (FillOrder 2), want FillOrder 1")
	}
	return nil
}

// withAdobe puts Adobe's marker into a JPEG of four channels without it, which image/jpeg wants. Such files store light
// instead of ink, as Adobe's do and as Pillow reads them.
func withAdobe(data []byte) []byte {
	_, frame := startOfFrame(data)
	if len(frame) < 6 || frame[5] != 4 {
		return data
	}
	const app14 = 0xee
	for marker, content := range segments(data) {
		if marker == app14 && bytes.HasPrefix(content, []byte("Adobe")) {
			return data
		}
	}
	marker := "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" // version 100, CMYK
	return slices.Concat(data[:2], []byte(marker), data[2:])
}

// startsWith reports whether data begins with magic, in which "?" is any byte.
func startsWith(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}
