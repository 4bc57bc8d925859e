package dataset

import "image"

// The colour conversion of JFIF with 16 fractional bits, as in libjpeg: the factors are 1.402, 0.71414, 0.34414 and
// 1.772.
const (
	redCr, greenCr, greenCb, blueCb = 91881, 46802, 22554, 116130

	halfLevel = 1 << 15
	red0      = halfLevel - 128*redCr
	green0    = halfLevel + 128*(greenCr+greenCb)
	blue0     = halfLevel - 128*blueCb
)

// Cb and Cr are computed together, in the lower and upper half of a uint32.
const (
	crShift = 16
	both    = 1 + 1<<crShift // times a value: that value in both halves
	samples = 0xff * both
)

// ycbcr reads the rows of a JPEG as libjpeg does by default. Chroma at half resolution is interpolated ("fancy
// upsampling"): 3/4 of the nearer and 1/4 of the farther sample, in each dimension that is halved. Samples are repeated
// at the border; the padding of the last block is not used. Chroma at a quarter of the width is repeated, and so is
// chroma at half the width of images too narrow for libjpeg to interpolate. CMYK and RGB JPEGs are not read here; their
// rare subsampling is undone by the decoder, which repeats samples.
type ycbcr struct {
	img          *image.YCbCr
	w, h         int // chroma samples of the image
	across, down int // log2 of pixels per chroma sample
	interpolated bool
	sums         []uint32 // chroma after the vertical step, times 4
	line         []uint32 // chroma of each pixel
}

// ycbcrRows takes an image of the JPEG decoder, whose bounds begin at 0, 0. The result is not safe for concurrent use.
func ycbcrRows(img *image.YCbCr) func([]uint8, int, int, int) {
	p := &ycbcr{img: img}
	switch img.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		p.across = 1
	case image.YCbCrSubsampleRatio420:
		p.across, p.down = 1, 1
	case image.YCbCrSubsampleRatio440:
		p.down = 1
	case image.YCbCrSubsampleRatio411:
		p.across = 2
	case image.YCbCrSubsampleRatio410:
		p.across, p.down = 2, 1
	}
	p.w = (img.Rect.Dx()-1)>>p.across + 1
	p.h = (img.Rect.Dy()-1)>>p.down + 1
	const narrow = 2 // chroma samples
	p.interpolated = p.across == 1 && p.w > narrow || p.across == 0 && p.down == 1
	p.sums = make([]uint32, p.w+2)
	p.line = make([]uint32, p.w<<p.across)
	return p.row
}

// row implements raster.row.
func (p *ycbcr) row(dst []uint8, x0, x1, y int) {
	switch {
	case !p.interpolated:
		p.repeat(x0, x1, y)
	case p.across == 1:
		p.interpolate(x0, x1, y)
	default:
		p.interpolateDown(x0, x1, y)
	}
	toRGB(dst, p.img.Y[y*p.img.YStride+x0:][:x1-x0], p.line[x0:x1])
}

// repeat sets the chroma of pixels x0 to x1-1 to the samples that cover them.
func (p *ycbcr) repeat(x0, x1, y int) {
	c := (y >> p.down) * p.img.CStride
	cb, cr := p.img.Cb[c:][:p.w], p.img.Cr[c:][:p.w]
	for x, line := x0, p.line[:x1]; x < len(line); x++ {
		c := x >> p.across
		line[x] = uint32(cb[c]) | uint32(cr[c])<<crShift
	}
}

// interpolate sets the chroma of pixels x0 to x1-1 where the width is halved. Biases alternate so that rounding does
// not shift colours; they and the order of steps are those of libjpeg.
func (p *ycbcr) interpolate(x0, x1, y int) {
	left, right := uint32(8*both), uint32(7*both)
	if p.down == 0 { // biases 1 and 2, times 4 like the sums
		left, right = 4*both, 8*both
	}
	// sums[c+1] is sample c, which covers two pixels and needs its neighbours. Edge samples are their own neighbours.
	first, last := x0>>1, (x1-1)>>1
	p.addRows(max(first-1, 0), min(last+2, p.w), y)
	p.sums[0], p.sums[p.w+1] = p.sums[1], p.sums[p.w]
	before, here := p.sums[first], p.sums[first+1]
	line := p.line[2*first : 2*last+2]
	for i, after := range p.sums[first+2 : last+3] {
		pair := line[2*i : 2*i+2 : 2*i+2]
		near := 3 * here
		pair[0] = (near + before + left) >> 4 & samples
		pair[1] = (near + after + right) >> 4 & samples
		before, here = here, after
	}
}

// interpolateDown sets the chroma of pixels x0 to x1-1 where only the height is halved.
func (p *ycbcr) interpolateDown(x0, x1, y int) {
	p.addRows(x0, x1, y)
	bias := uint32(1+y&1) * both
	sums := p.sums[x0+1 : x1+1]
	line := p.line[x0:x1][:len(sums)]
	for i, s := range sums {
		line[i] = (s + bias) >> 2 & samples
	}
}

// addRows sets the sums of chroma samples c0 to c1-1 in pixel row y: three times the row that covers it plus the next
// nearest, which is the same row at the edges and where the height is not halved.
func (p *ycbcr) addRows(c0, c1, y int) {
	near := y >> p.down
	far := near
	if p.down == 1 {
		far = min(max(near+2*(y&1)-1, 0), p.h-1)
	}
	sums := p.sums[c0+1 : c1+1]
	n, f := near*p.img.CStride+c0, far*p.img.CStride+c0
	nearCb, nearCr := p.img.Cb[n:][:len(sums)], p.img.Cr[n:][:len(sums)]
	farCb, farCr := p.img.Cb[f:][:len(sums)], p.img.Cr[f:][:len(sums)]
	for i := range sums {
		sums[i] = 3*(uint32(nearCb[i])|uint32(nearCr[i])<<crShift) + uint32(farCb[i]) + uint32(farCr[i])<<crShift
	}
}

// toRGB converts luma and chroma to pixels, rounded to the nearest level.
func toRGB(dst, luma []uint8, chroma []uint32) {
	chroma = chroma[:len(luma)]
	dst = dst[:3*len(luma)]
	for i, l := range luma {
		l, u, v := int32(l)<<16, int32(chroma[i]&0xff), int32(chroma[i]>>crShift)
		r, g, b := l+redCr*v+red0, l-greenCb*u-greenCr*v+green0, l+blueCb*u+blue0
		if uint32(r|g|b)>>24 != 0 {
			r, g, b = saturate(r), saturate(g), saturate(b)
		}
		d := dst[3*i : 3*i+3 : 3*i+3]
		d[0], d[1], d[2] = uint8(r>>16), uint8(g>>16), uint8(b>>16)
	}
}

// saturate clamps v to 0 to 2^24-1.
func saturate(v int32) int32 {
	return min(max(v, 0), 1<<24-1)
}
