package demo

import (
	"image"
	"math"

	"mvag-torch/internal/components"
)

// minDepth is the difference of two hits along a ray above which the defect has changed the shape: about half a pixel
// of a 256 x 256 image.
const minDepth = 0.006

// newMask returns the exact mask of the defect in one view and its number of pixels. The sound and the defective part,
// in the same pose, are traced at the subsamples of each pixel that the defect can touch; a pixel is set if half of
// them differ. Components under four pixels are dropped. Shadows and reflections of the defect are not in the mask; the
// mask of a missing piece covers where it was.
func newMask(sound, bad *part, cam *camera, size image.Point) (*image.Gray, int) {
	mask := image.NewGray(image.Rectangle{Max: size})
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
	return mask, dropSpecks(mask, 4)
}

func differs(sound, bad hit) bool {
	return bad.kind == onFlaw || math.Abs(sound.dist-bad.dist) > minDepth
}

// footprint is the region of the image that the bounding sphere of the defect can cover.
func footprint(f *flaw, cam *camera, size image.Point) image.Rectangle {
	x, y, scale := cam.project(f.center)
	half := float64(size.X) / 2
	r := int(f.radius*scale*half*1.1) + 2
	px, py := int((x+1)*half), int((aspect(size)-y)*half)
	return image.Rect(px-r, py-r, px+r+1, py+r+1).Intersect(image.Rectangle{Max: size})
}

// dropSpecks clears 8-connected components of fewer than least pixels and returns the number of remaining pixels.
func dropSpecks(mask *image.Gray, least int) int {
	set := make([]bool, len(mask.Pix))
	for i, v := range mask.Pix {
		set[i] = v != 0
	}
	var runs components.Runs
	runs.Find(set, mask.Stride)
	kept := 0
	for _, r := range runs {
		if r.Size >= least {
			kept += r.To - r.From
			continue
		}
		clear(mask.Pix[r.From:r.To])
	}
	return kept
}
