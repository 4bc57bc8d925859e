package demo

import "math"

// ink is a drawing of polylines. Letters are two units high with the baseline at y = -1.
type ink [][][2]float64

// inkGrade is the digit 8; inkLogo is the word MVAG.
var (
	inkGrade = ink{loop(0, 0.5, 0.5), loop(0, -0.48, 0.58)}
	inkLogo  = ink{
		{{-4.3, -1}, {-4.3, 1}, {-3.45, -0.3}, {-2.6, 1}, {-2.6, -1}},
		{{-1.95, 1}, {-1.1, -1}, {-0.25, 1}},
		{{0.1, -1}, {0.95, 1}, {1.8, -1}},
		{{0.42, -0.35}, {1.48, -0.35}},
		{{4.05, 0.62}, {3.7, 0.9}, {3.2, 1}, {2.7, 0.8}, {2.4, 0.4}, {2.3, 0}, {2.4, -0.4},
			{2.7, -0.8}, {3.2, -1}, {3.75, -0.88}, {4.1, -0.55}, {4.1, -0.05}, {3.35, -0.05}},
	}
)

// loop returns a circle of twelve strokes.
func loop(x, y, radius float64) [][2]float64 {
	points := make([][2]float64, 13)
	for i := range points {
		sin, cos := math.Sincos(float64(i) * math.Pi / 6)
		points[i] = [2]float64{x + radius*sin, y + radius*cos}
	}
	return points
}

// distance returns the distance of (x, y) from the nearest stroke.
func (drawing ink) distance(x, y float64) float64 {
	best := math.Inf(1)
	for _, line := range drawing {
		for i := 1; i < len(line); i++ {
			ax, ay := line[i-1][0], line[i-1][1]
			bx, by := line[i][0]-ax, line[i][1]-ay
			px, py := x-ax, y-ay
			t := clamp((px*bx+py*by)/(bx*bx+by*by), 0, 1)
			px, py = px-t*bx, py-t*by
			best = min(best, px*px+py*py)
		}
	}
	return math.Sqrt(best)
}
