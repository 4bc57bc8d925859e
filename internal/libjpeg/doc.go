// Package libjpeg decodes JPEGs by libjpeg-turbo, whose pixels are those of
// most other programs. It is there where the program is built with cgo and the
// tag libjpeg; pkg-config finds the library.
package libjpeg

// Picture describes decoded pixels.
type Picture struct {
	Width, Height int
	Channels      int // 1 gray, 3 RGB, 4 CMYK as the file stores it
}
