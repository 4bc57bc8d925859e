package model

import "math"

// axis is one direction of a viewport: where tiles begin in it, their length in pixels, and their patches.
type axis struct {
	starts        []int // ascending
	tile, patches int
}

// matrix takes the distances along the axis, tile by tile, to a map of size pixels that shows the pixels from..to of the
// viewport: [size, tiles·patches], rows that sum to 1.
func (a axis) matrix(from, to, size int) []float32 {
	return flat(a.rows(from, to, size, reduces(to-from, size)))
}

// rows is matrix, row by row, antialiased or not.
func (a axis) rows(from, to, size int, antialiased bool) [][]float64 {
	m := make([][]float64, size)
	for i := range m {
		m[i] = make([]float64, len(a.starts)*a.patches)
		for _, t := range resample(i, to-from, size, antialiased) {
			a.add(m[i], from+t.at, t.weight)
		}
	}
	return m
}

// blurred multiplies rows by the matrix of a filter with this odd number of weights and zero padding: what it makes of
// a column of the map.
func blurred(rows [][]float64, filter []float64) [][]float64 {
	out := make([][]float64, len(rows))
	for i := range rows {
		out[i] = make([]float64, len(rows[i]))
		for k, w := range filter {
			at := i + k - (len(filter)-1)/2
			if at < 0 || at >= len(rows) {
				continue
			}
			for j, v := range rows[at] {
				out[i][j] += w * v
			}
		}
	}
	return out
}

// flat is a matrix row by row.
func flat(rows [][]float64) []float32 {
	var m []float32
	for _, row := range rows {
		for _, v := range row {
			m = append(m, float32(v))
		}
	}
	return m
}

// add adds pixel y of the viewport to a row of the matrix. Where tiles overlap, each counts by how far the pixel is from
// its border, up to the end of the overlap, so that no seam shows. In a single tile the outermost patches lie at the
// borders, as published. Several have each patch where it is: only then do two tiles agree on where a defect is.
func (a axis) add(row []float64, y int, weight float64) {
	total := 0.
	for i := range a.starts {
		total += a.ramp(i, y)
	}
	for i, start := range a.starts {
		part := a.ramp(i, y)
		if part == 0 {
			continue
		}
		u := (float64(y-start)+0.5)*float64(a.patches)/float64(a.tile) - 0.5
		if len(a.starts) == 1 {
			u = float64((y-start)*(a.patches-1)) / float64(max(1, a.tile-1))
		}
		u = min(max(u, 0), float64(a.patches-1))
		low := min(int(u), max(0, a.patches-2))
		upper, of := u-float64(low), row[i*a.patches:]
		of[low] += weight * part / total * (1 - upper)
		if upper > 0 {
			of[low+1] += weight * part / total * upper
		}
	}
}

// ramp is the weight of tile i at pixel y before it is divided by the sum of all: 1, falling linearly towards a border
// where another tile overlaps, and 0 outside.
func (a axis) ramp(i, y int) float64 {
	u := y - a.starts[i]
	if u < 0 || u >= a.tile {
		return 0
	}
	w := 1.
	if i > 0 {
		if shared := a.starts[i-1] + a.tile - a.starts[i]; shared > 0 {
			w = min(w, (float64(u)+0.5)/float64(shared))
		}
	}
	if i < len(a.starts)-1 {
		if shared := a.starts[i] + a.tile - a.starts[i+1]; shared > 0 {
			w = min(w, (float64(a.tile-u)-0.5)/float64(shared))
		}
	}
	return w
}

// tap is a pixel and its weight in another.
type tap struct {
	at     int
	weight float64
}

// reduces says whether n pixels are resized to so few that bilinear interpolation, which looks at two, leaves some out.
func reduces(n, size int) bool { return n > 2*size }

// resample gives the pixels of n that make pixel i of size: bilinearly, antialiased or not, both as PyTorch's interpolate
// with align_corners=False. Their weights sum to 1.
func resample(i, n, size int, antialiased bool) []tap {
	scale := float64(n) / float64(size)
	centre := (float64(i) + 0.5) * scale
	if !antialiased {
		at := max(0, centre-0.5)
		low := min(int(at), n-1)
		high, upper := min(low+1, n-1), at-float64(low)
		return []tap{{low, 1 - upper}, {high, upper}}
	}
	var taps []tap
	sum := 0.
	for at := max(0, int(centre-scale+0.5)); at < min(n, int(centre+scale+0.5)); at++ {
		w := max(0, 1-math.Abs((float64(at)+0.5-centre)/scale))
		taps, sum = append(taps, tap{at, w}), sum+w
	}
	for k := range taps {
		taps[k].weight /= sum
	}
	return taps
}
