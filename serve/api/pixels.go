package api

import "encoding/binary"

// image returns image i of images or files as a file: of pixels, one that is decoded fast and without loss.
func (t *input) image(i int) []byte {
	if t.name == "files" {
		return t.elements[i]
	}
	height, width := t.shape[2], t.shape[3]
	size := height * width * 3
	return bitmap(t.data[i*size:][:size], width, height)
}

// bitmap returns pixels [height, width, 3] of red, green and blue as a BMP file of 24 bits a pixel, whose rows go down.
// In these files a row is padded to 4 bytes, and blue comes first.
func bitmap(pixels []byte, width, height int) []byte {
	const header = 54
	row := (3*width + 3) &^ 3
	out := make([]byte, header+row*height)
	copy(out, "BM")
	for _, field := range []struct {
		at    int
		value int32
	}{{2, int32(len(out))}, {10, header}, {14, 40}, {18, int32(width)}, {22, int32(-height)}, {26, 1 | 24<<16}, {34, int32(row * height)}} {
		binary.LittleEndian.PutUint32(out[field.at:], uint32(field.value))
	}
	for y := range height {
		from, to := pixels[3*width*y:][:3*width], out[header+row*y:]
		for x := 0; x < len(from); x += 3 {
			to[x], to[x+1], to[x+2] = from[x+2], from[x+1], from[x]
		}
	}
	return out
}
