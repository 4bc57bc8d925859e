package dataset

import (
	"slices"

	"golang.org/x/sys/cpu"
)

// The two passes of the resize in AVX2. Results are bit-exact to those in Go.

// useAVX2 is a variable for tests.
var useAVX2 = cpu.X86.HasAVX2

// vectorPad is the number of bytes that may be read past the end of a row.
const vectorPad = 64

// A step multiplies four input pixels by their weights. Multiplication takes 16 bits, so weights of 22 bits are split:
// high<<lowBits + low.
const (
	lowBits   = 11
	stepTaps  = 4
	stepWords = 32 // 16 high halves, then 16 low ones
)

// vectorWeights are the weights of an axis in the layout that rgbAVX2 reads. For taps 0 to 3 and each half, words 0 to
// 7 are w0 w1 for red, green, blue and padding; words 8 to 15 are w2 w3 likewise.
type vectorWeights struct {
	steps int
	words []int16 // [n, steps, stepWords]
	at    []int32 // [n] byte offset of the first tap
}

func (v *vectorWeights) set(a *axis) {
	v.steps = (a.taps + stepTaps - 1) / stepTaps
	size := a.n * v.steps * stepWords
	v.words, v.at = slices.Grow(v.words[:0], size)[:size], slices.Grow(v.at[:0], a.n)[:a.n]
	clear(v.words)
	for i := range a.n {
		v.at[i] = int32(3 * (a.first[i] - a.first[0]))
		for j, w := range a.weights[i*a.taps:][:a.count[i]] {
			words := v.words[(i*v.steps+j/stepTaps)*stepWords:][:stepWords]
			for c := range 3 {
				k := j%stepTaps/2*8 + 2*c + j%2
				words[k], words[stepWords/2+k] = int16(w>>lowBits), int16(w&(1<<lowBits-1))
			}
		}
	}
}

// rgb computes pixels of a row and returns how many, a multiple of 4.
func (v *vectorWeights) rgb(dst, src []uint8, n int) (done int) {
	done = n &^ 3
	if !useAVX2 || done == 0 || 12*v.steps > vectorPad || cap(src)-len(src) < vectorPad {
		return 0
	}
	rgbAVX2(&dst[0], &dst[n], &dst[2*n], &src[0], &v.at[0], &v.words[0], v.steps, done)
	return done
}

// vectorColumn computes a row of the second pass. It returns false if it cannot.
func vectorColumn(dst, rows []uint8, stride int, weights []int32) bool {
	const block = 16
	if !useAVX2 || len(dst) < block || len(rows) < (len(weights)-1)*stride+len(dst) {
		return false
	}
	columnAVX2(&dst[0], &rows[0], stride, &weights[0], len(weights), len(dst))
	return true
}

// rgbAVX2 computes n pixels of a row, n a multiple of 4. It reads 12*steps+4 bytes of src from each offset in at.
//
//go:noescape
func rgbAVX2(red, green, blue, src *uint8, at *int32, words *int16, steps, n int)

// columnAVX2 computes n values, n at least 16, from count rows.
//
//go:noescape
func columnAVX2(dst, rows *uint8, stride int, weights *int32, count, n int)
