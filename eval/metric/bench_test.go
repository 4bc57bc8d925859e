package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// synthetic returns n maps of 256x256 and their masks; half the images have elliptical defects, in all about 0.56 % of
// the pixels. Scores are log-normal on a grid of 28x28 and bilinear between.
func synthetic(n int) (maps [][]float32, masks [][]bool) {
	rng := rand.New(rand.NewPCG(1, 2))
	const side, cells = 256, 28
	for i := range n {
		var grid [cells + 1][cells + 1]float64
		for y := range grid {
			for x := range grid[y] {
				grid[y][x] = 0.05 * math.Exp(0.5*rng.NormFloat64())
			}
		}
		var mask []bool
		var cx, cy, rx, ry float64
		if i%2 == 0 {
			mask = make([]bool, side*side)
			cx, cy = 40+176*rng.Float64(), 40+176*rng.Float64()
			rx, ry = 8+14*rng.Float64(), 8+14*rng.Float64()
		}
		scores := make([]float32, side*side)
		for y := range side {
			for x := range side {
				u, v := float64(x)*cells/side, float64(y)*cells/side
				a, b := int(u), int(v)
				u, v = u-float64(a), v-float64(b)
				s := (grid[b][a]*(1-u)+grid[b][a+1]*u)*(1-v) + (grid[b+1][a]*(1-u)+grid[b+1][a+1]*u)*v
				if mask != nil {
					d := math.Hypot((float64(x)-cx)/rx, (float64(y)-cy)/ry)
					mask[y*side+x] = d < 1
					s += 0.12 * math.Exp(-d*d)
				}
				scores[y*side+x] = float32(s)
			}
		}
		maps, masks = append(maps, scores), append(masks, mask)
	}
	return maps, masks
}

// BenchmarkPixels evaluates a class of synthetic maps. "kept" adds everything and ranks; "sealed" adds the images with
// defects, seals, adds the rest.
func BenchmarkPixels(b *testing.B) {
	const images = 300
	maps, masks := synthetic(images)
	add := func(b *testing.B, p *Pixels, anomalous bool) {
		for i := range maps {
			if (masks[i] != nil) == anomalous {
				if err := p.Add(Image{Name: fmt.Sprint(i), Scores: maps[i], Mask: masks[i], Height: 256, Width: 256}); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	report := func(b *testing.B, part string, run func(p *Pixels)) {
		b.Run(part, func(b *testing.B) {
			for b.Loop() {
				var p Pixels
				run(&p)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(images*256*256), "ns/pixel")
		})
	}
	var share float64
	report(b, "kept/add", func(p *Pixels) { add(b, p, true); add(b, p, false) })
	report(b, "kept/add,summarize", func(p *Pixels) {
		add(b, p, true)
		add(b, p, false)
		r, _ := p.Summarize(AUPROLimit)
		share = float64(r.Anomalous) / float64(r.Anomalous+r.Normal)
	})
	report(b, "sealed/add,summarize", func(p *Pixels) {
		add(b, p, true)
		p.Seal()
		add(b, p, false)
		p.Summarize(AUPROLimit)
	})
	b.Logf("%d images, %.2f %% anomalous pixels, %d CPUs", images, 100*share, runtime.GOMAXPROCS(0))
}
