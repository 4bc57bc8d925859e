package metric

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// results are all metrics of a set of images, by the code or by the oracle.
type results struct {
	PixelRanking
	aupro200 float64
}

// evaluate adds the images in the order given.
func evaluate(t testing.TB, images []Image, limit float64) results {
	t.Helper()
	var p Pixels
	addAll(t, &p, images)
	s, err := p.Summarize(limit)
	if err != nil {
		t.Fatal(err)
	}
	if s.Compat.Slack != 0 {
		t.Fatalf("slack: have %v, want 0 without Seal", s.Compat.Slack)
	}
	return results{s.PixelRanking, s.Compat.AUPRO200}
}

func addAll(t testing.TB, p *Pixels, images []Image) {
	t.Helper()
	for _, x := range images {
		if err := p.Add(x); err != nil {
			t.Fatal(err)
		}
	}
}

// anomalousFirst returns the images with anomalous pixels and the others.
func anomalousFirst(images []Image) (anomalous, normal []Image) {
	for _, x := range images {
		if slices.Contains(x.Mask, true) || slices.Contains(x.Other, true) {
			anomalous = append(anomalous, x)
		} else {
			normal = append(normal, x)
		}
	}
	return anomalous, normal
}

// sample is one pixel of the oracle; region is -1 for normal ones.
type sample struct {
	score  float32
	region int
}

// oracle computes everything from the definitions, in rational arithmetic and with every distinct score as a threshold.
// The limit of AUPRO is limit/10.
func oracle(images []Image, limit int64) results {
	var all []sample
	var sizes []int64
	masks := 0
	for _, x := range images {
		region := flood(x)
		first := len(sizes)
		for i, s := range x.Scores {
			r := region[i]
			if r >= 0 {
				r += first
				for r >= len(sizes) {
					sizes = append(sizes, 0)
				}
				sizes[r]++
			}
			all = append(all, sample{s, r})
		}
		if len(sizes) > first {
			masks++
		}
	}
	out := results{PixelRanking: PixelRanking{Masks: masks, Regions: len(sizes)}}
	for _, s := range all {
		if s.region >= 0 {
			out.Anomalous++
		} else {
			out.Normal++
		}
	}
	out.Ranking = oracleRanking(all, out.Anomalous, out.Normal)
	out.AUPRO = oracleAUPRO(all, sizes, out.Normal, big.NewRat(limit, 10))
	out.aupro200 = oracleAUPRO200(all, sizes, out.Normal)
	return out
}

// flood numbers the 8-connected regions of a mask from 0; -1 is no region.
func flood(x Image) []int {
	region := slices.Repeat([]int{-1}, len(x.Scores))
	if x.Mask == nil {
		return region
	}
	n := 0
	var fill func(row, column int)
	fill = func(row, column int) {
		i := row*x.Width + column
		if row < 0 || column < 0 || row >= x.Height || column >= x.Width || !x.Mask[i] || region[i] >= 0 {
			return
		}
		region[i] = n
		for d := range 9 {
			fill(row+d/3-1, column+d%3-1)
		}
	}
	for i := range x.Mask {
		if x.Mask[i] && region[i] < 0 {
			fill(i/x.Width, i%x.Width)
			n++
		}
	}
	return region
}

// rat is a fraction.
func rat(a, b int64) *big.Rat { return big.NewRat(a, b) }

// descending lists the distinct scores from the highest.
func descending(all []sample) []float32 {
	var out []float32
	for _, s := range all {
		if !slices.Contains(out, s.score) {
			out = append(out, s.score)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

func oracleRanking(all []sample, p, n int64) Ranking {
	nan := math.NaN()
	out := Ranking{nan, nan, nan, nan, nan, nan}
	if p == 0 {
		return out
	}
	if n > 0 {
		var twice int64
		for _, a := range all {
			for _, b := range all {
				if a.region >= 0 && b.region < 0 && a.score > b.score {
					twice += 2
				} else if a.region >= 0 && b.region < 0 && a.score == b.score {
					twice++
				}
			}
		}
		out.AUROC, _ = big.NewRat(twice, 2*p*n).Float64()
	}
	ap, best := new(big.Rat), new(big.Rat)
	var lastTP int64
	for _, t := range descending(all) {
		var tp, fp int64
		for _, s := range all {
			if s.score >= t && s.region >= 0 {
				tp++
			} else if s.score >= t {
				fp++
			}
		}
		ap.Add(ap, new(big.Rat).Mul(big.NewRat(tp-lastTP, p), big.NewRat(tp, tp+fp)))
		lastTP = tp
		if f1 := big.NewRat(2*tp, p+tp+fp); f1.Cmp(best) >= 0 {
			best.Set(f1)
			out.Threshold = float64(t)
		}
	}
	out.AP, _ = ap.Float64()
	out.F1max, _ = best.Float64()
	out.F1Eps, out.AUPR = oracleCurve(all, p)
	return out
}

// oracleCurve walks scikit-learn's precision-recall curve, a point for every score of any pixel, as Dinomaly and
// anomalib do.
func oracleCurve(all []sample, p int64) (f1, area float64) {
	lastRecall, lastPrecision := 0.0, 1.0
	for _, t := range descending(all) {
		var tp, predicted int64
		for _, s := range all {
			if s.score >= t {
				predicted++
				if s.region >= 0 {
					tp++
				}
			}
		}
		recall, precision := float64(tp)/float64(p), float64(tp)/float64(predicted)
		f1 = max(f1, 2*precision*recall/(precision+recall+1e-7))
		area += (recall - lastRecall) * (precision + lastPrecision) / 2
		lastRecall, lastPrecision = recall, precision
	}
	return f1, area
}

// curve returns the false-positive rate and the mean overlap at "found".
func curve(all []sample, sizes []int64, n int64, found func(float32) bool) (rate, overlap *big.Rat) {
	var fp int64
	overlap = new(big.Rat)
	for _, s := range all {
		switch {
		case !found(s.score):
		case s.region < 0:
			fp++
		default:
			overlap.Add(overlap, big.NewRat(1, sizes[s.region]*int64(len(sizes))))
		}
	}
	return big.NewRat(fp, n), overlap
}

func oracleAUPRO(all []sample, sizes []int64, n int64, limit *big.Rat) float64 {
	if len(sizes) == 0 || n == 0 {
		return math.NaN()
	}
	area, x0, y0 := new(big.Rat), new(big.Rat), new(big.Rat)
	for _, t := range descending(all) {
		x1, y1 := curve(all, sizes, n, func(s float32) bool { return s >= t })
		width := new(big.Rat).Sub(x1, x0)
		if x1.Cmp(limit) > 0 { // cut the segment at the limit
			part := new(big.Rat).Sub(limit, x0)
			part.Quo(part, width)
			y1 = new(big.Rat).Add(y0, part.Mul(part, new(big.Rat).Sub(y1, y0)))
			width.Sub(limit, x0)
			x1 = limit
		}
		height := new(big.Rat).Add(y0, y1)
		area.Add(area, height.Mul(height, width))
		if x0, y0 = x1, y1; x0.Cmp(limit) == 0 {
			break
		}
	}
	v, _ := area.Quo(area, new(big.Rat).Mul(big.NewRat(2, 1), limit)).Float64()
	return v
}

func oracleAUPRO200(all []sample, sizes []int64, n int64) float64 {
	if len(sizes) == 0 || n == 0 {
		return math.NaN()
	}
	scores := descending(all)
	low, high := float64(scores[len(scores)-1]), float64(scores[0])
	if low == high || math.IsInf(low, 0) || math.IsInf(high, 0) {
		return math.NaN()
	}
	var xs, ys []float64
	for k := range 200 {
		t := low + float64(k)*(high-low)/200
		x, y := curve(all, sizes, n, func(s float32) bool { return float64(s) > t })
		if x.Cmp(big.NewRat(3, 10)) < 0 {
			xf, _ := x.Float64()
			yf, _ := y.Float64()
			xs, ys = append(xs, xf), append(ys, yf)
		}
	}
	if len(xs) < 2 || xs[0] == 0 { // the first threshold has the largest rate
		return math.NaN()
	}
	area := 0.0
	for i := 1; i < len(xs); i++ {
		area += (xs[i-1] - xs[i]) / xs[0] * (ys[i-1] + ys[i]) / 2
	}
	return area
}

// levels are few enough that equal scores are frequent.
var levels = []float32{
	float32(math.Inf(-1)), -math.MaxFloat32, -1.5, -math.SmallestNonzeroFloat32,
	float32(math.Copysign(0, -1)), 0, math.SmallestNonzeroFloat32, 0.25, 1, 1, math.MaxFloat32, float32(math.Inf(1)),
}

// random returns 1 to 3 images of 1 to 12 pixels in all, one score in two of a small set.
func random(rng *rand.Rand) []Image {
	shapes := [][2]int{{1, 1}, {1, 3}, {2, 2}, {3, 2}, {3, 4}, {4, 3}, {2, 4}, {1, 4}}
	share := rng.Float64()
	var out []Image
	for left := 12; left > 0 && len(out) < 3; {
		shape := shapes[rng.IntN(len(shapes))]
		n := shape[0] * shape[1]
		if n > left {
			break
		}
		left -= n
		x := Image{Name: "random", Height: shape[0], Width: shape[1]}
		for range n {
			s := levels[rng.IntN(len(levels))]
			if rng.IntN(2) == 0 {
				s = float32(rng.NormFloat64())
			}
			x.Scores = append(x.Scores, s)
			x.Mask = append(x.Mask, rng.Float64() < share)
		}
		out = append(out, x)
	}
	return out
}

// near is equality up to rounding; two NaN are near.
func near(a, b, tolerance float64) bool {
	return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= tolerance || a == b
}

// check compares everything; a tolerance of 0 asks for the same bits.
func check(t testing.TB, what string, have, want results, tolerance float64) {
	t.Helper()
	for _, c := range []struct {
		name       string
		have, want float64
	}{
		{"AUROC", have.AUROC, want.AUROC}, {"AP", have.AP, want.AP}, {"F1max", have.F1max, want.F1max},
		{"Threshold", have.Threshold, want.Threshold}, {"AUPRO", have.AUPRO, want.AUPRO},
		{"AUPRO200", have.aupro200, want.aupro200}, {"F1Eps", have.F1Eps, want.F1Eps}, {"AUPR", have.AUPR, want.AUPR},
	} {
		if !near(c.have, c.want, tolerance) {
			t.Errorf("%s: %s: have %v, want %v", what, c.name, c.have, c.want)
		}
	}
	if have.Anomalous != want.Anomalous || have.Normal != want.Normal ||
		have.Masks != want.Masks || have.Regions != want.Regions {
		t.Errorf("%s: counts: have %+v, want %+v", what, have.PixelRanking, want.PixelRanking)
	}
}

func TestPixelsAgainstDefinitions(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	for range 3000 {
		images := random(rng)
		tenths := 1 + rng.Int64N(10)
		have := evaluate(t, images, float64(tenths)/10)
		check(t, "definitions", have, oracle(images, tenths), 1e-12)
		if t.Failed() {
			t.Fatalf("images %+v, limit %d/10", images, tenths)
		}
	}
}

func TestRankAgainstDefinitions(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	for range 3000 {
		x := random(rng)[0]
		have, err := Rank(wide(x.Scores), x.Mask)
		if err != nil {
			t.Fatal(err)
		}
		want := oracle([]Image{x}, 3)
		check(t, "definitions", results{PixelRanking: PixelRanking{Ranking: have}},
			results{PixelRanking: PixelRanking{Ranking: want.Ranking}}, 1e-12)
		if t.Failed() {
			t.Fatalf("scores %v, labels %v", x.Scores, x.Mask)
		}
	}
}

func FuzzPixels(f *testing.F) {
	f.Add([]byte{0, 0, 128, 63, 1, 0, 0, 0, 0, 0, 0, 0, 0, 128, 0}, byte(3))
	f.Add([]byte{0, 0, 192, 127, 1}, byte(1)) // NaN
	f.Fuzz(func(t *testing.T, data []byte, width byte) {
		x := Image{Name: "fuzz", Width: max(1, int(width)%5)}
		nan := false
		for ; len(data) >= 5 && len(x.Scores) < 40; data = data[5:] {
			bits := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
			x.Scores = append(x.Scores, math.Float32frombits(bits))
			x.Mask = append(x.Mask, data[4]&1 == 1)
		}
		x.Height = len(x.Scores) / x.Width
		x.Scores, x.Mask = x.Scores[:x.Height*x.Width], x.Mask[:x.Height*x.Width]
		for _, s := range x.Scores {
			nan = nan || s != s
		}
		var p Pixels
		err := p.Add(x)
		if bad := nan || x.Height == 0; bad != (err != nil) {
			t.Fatalf("%+v: have error %v", x, err)
		} else if !bad {
			check(t, "definitions", evaluate(t, []Image{x}, 0.3), oracle([]Image{x}, 3), 1e-12)
		}
	})
}
