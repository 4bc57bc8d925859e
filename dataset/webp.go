package dataset

import "image"

// webpRaster converts a decoded WebP. Lossy images have limited-range YCbCr (16 to 235), which package image treats as
// full range, so chroma is interpolated and colours are converted here as in libwebp.
func webpRaster(img image.Image) (raster, error) {
	switch img := img.(type) {
	case *image.YCbCr:
		return lossyRaster(img), nil
	case *image.NYCbCrA:
		r := lossyRaster(&img.YCbCr)
		r.alpha = func(x, y int) uint8 { return img.A[y*img.AStride+x] }
		return r, nil
	}
	return newRaster(img)
}

// lossyRaster reads an image with 4:2:0 chroma. Each chroma sample lies in the middle of four pixels. A pixel takes
// 9/16 of the nearest sample, 3/16 of each of the two next to it and 1/16 of the farthest, rounded in two steps
// (libwebp's "fancy upsampling"). Samples are repeated at the border.
func lossyRaster(img *image.YCbCr) raster {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	lastX, lastY := (w-1)/2, (h-1)/2
	return raster{w: w, h: h, channels: 3, row: func(dst []uint8, x0, x1, y int) {
		near, far := y/2, min(max(y/2-1+y%2*2, 0), lastY)
		for i := range x1 - x0 {
			x := x0 + i
			column, beside := x/2, x/2-1+x%2*2
			chroma := func(plane []uint8) int {
				a, c := int(plane[near*img.CStride+column]), int(plane[far*img.CStride+column])
				if beside < 0 || beside > lastX {
					return (3*a + c + 2) >> 2
				}
				b, d := int(plane[near*img.CStride+beside]), int(plane[far*img.CStride+beside])
				return ((a+3*b+3*c+d+8)>>3 + a) >> 1
			}
			luma := int(img.Y[y*img.YStride+x]) * 19077 >> 8
			u, v := chroma(img.Cb), chroma(img.Cr)
			dst[3*i] = clip6(luma + v*26149>>8 - 14234)
			dst[3*i+1] = clip6(luma - u*6419>>8 - v*13320>>8 + 8708)
			dst[3*i+2] = clip6(luma + u*33050>>8 - 17685)
		}
	}}
}

// clip6 drops six fractional bits and clamps to a byte.
func clip6(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
