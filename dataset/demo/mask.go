package demo

import (
	"image"
	"math"
)

// minDepth is the difference of two hits, along the ray, above which the defect
// has changed the shape there: about half a pixel of a 256 x 256 picture.
const minDepth = 0.006

// newMask is the exact mask of the defect in one view: the sound and the
// defective part, in the same pose, are cast on the subsamples of every pixel
// that the defect can touch, and a pixel counts where half of them differ.
// Components under four pixels are dropped. The second result is the number of
// pixels left. Shadows and reflections of the defect are not part of its mask;
// the mask of a missing piece covers where it was.
func newMask(sound, bad *part, cam *camera, size int) (*image.Gray, int) {
	mask := image.NewGray(image.Rect(0, 0, size, size))
	box := footprint(bad.flaw, cam, size)
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			covered := 0
			for _, at := range subsamples {
				dir := cam.aim(float64(x)+at[0], float64(y)+at[1], size)
				if differs(sound.cast(cam.at, dir), bad.cast(cam.at, dir)) {
					covered++
				}
			}
			if 2*covered >= len(subsamples) {
				mask.Pix[mask.PixOffset(x, y)] = 255
			}
		}
	}
	return mask, dropSpecks(mask, box, 4)
}

func differs(sound, bad hit) bool {
	return bad.kind == onFlaw || math.Abs(sound.dist-bad.dist) > minDepth
}

// footprint is the part of the picture that the defect's enclosing sphere, seen
// by cam, can cover.
func footprint(f *flaw, cam *camera, size int) image.Rectangle {
	x, y, scale := cam.project(f.center)
	half := float64(size) / 2
	r := int(f.radius*scale*half*1.1) + 2
	px, py := int((x+1)*half), int((1-y)*half)
	return image.Rect(px-r, py-r, px+r+1, py+r+1).Intersect(image.Rect(0, 0, size, size))
}

// dropSpecks clears the 8-connected components of mask inside box that have
// fewer than least pixels, and returns the number of pixels kept.
func dropSpecks(mask *image.Gray, box image.Rectangle, least int) int {
	const seen = 1 // marks a pixel whose component was counted and kept
	kept := 0
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			if mask.Pix[mask.PixOffset(x, y)] != 255 {
				continue
			}
			speck := flood(mask, box, image.Pt(x, y), seen)
			if len(speck) >= least {
				kept += len(speck)
				continue
			}
			for _, p := range speck {
				mask.Pix[mask.PixOffset(p.X, p.Y)] = 0
			}
		}
	}
	for i, v := range mask.Pix {
		if v == seen {
			mask.Pix[i] = 255
		}
	}
	return kept
}

// flood gives the component of 255s around start the value v and returns it.
func flood(mask *image.Gray, box image.Rectangle, start image.Point, v uint8) []image.Point {
	points := []image.Point{start}
	mask.Pix[mask.PixOffset(start.X, start.Y)] = v
	for next := 0; next < len(points); next++ {
		p := points[next]
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				q := p.Add(image.Pt(dx, dy))
				if q.In(box) && mask.Pix[mask.PixOffset(q.X, q.Y)] == 255 {
					mask.Pix[mask.PixOffset(q.X, q.Y)] = v
					points = append(points, q)
				}
			}
		}
	}
	return points
}
