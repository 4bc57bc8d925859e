package export

import (
	"fmt"
	"image"
	"math"

	"mvag-torch/internal/onnx"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
)

// maps turns distances d [S, V, T, P] into anomaly maps [S, V, h, w] of images that lie at content in the viewport: two
// matrices do what [model.Mapper.Forward] does.
func (g *graph) maps(d *onnx.Value, content image.Rectangle) *onnx.Value {
	var down, across []float32
	g.scope.Local(func(s *tensor.Scope) *tensor.Tensor {
		down, across = model.NewMapper(s, g.model.Model, g.cfg).Matrices(content)
		return nil
	})
	size, v := g.cfg.MapSize(), onnx.Dim{N: g.views}
	h, w := int64(size.Height()), int64(size.Width())
	e := g.model.Encoder
	d = g.Reshape(d, append([]onnx.Dim{onnx.Objects(1), v}, dims(g.rows, g.columns, e.Rows, e.Columns)...)...)
	d = g.Transpose(d, 0, 1, 2, 4, 3, 5)
	d = g.Reshape(d, onnx.Objects(1), v, onnx.Dim{N: g.rows * e.Rows}, onnx.Dim{N: g.columns * e.Columns})
	d = g.Name(d, "grid", "distances of patches where they lie in the image")
	x := g.MatMul(d, g.Floats("map.across", transposed(across, int(w)), g.columns*e.Columns, w)) // [S, V, rows, w]
	x = g.MatMul(g.Floats("map.down", down, h, g.rows*e.Rows), x)                                // [S, V, h, w]
	return g.Name(x, "map.all", "resized and smoothed, which is linear along each axis; of absent images without meaning")
}

// transposed is a matrix of so many rows, row by row, with its axes swapped.
func transposed(m []float32, rows int) []float32 {
	columns, out := len(m)/rows, make([]float32, len(m))
	for i, v := range m {
		out[i%columns*rows+i/columns] = v
	}
	return out
}

// top is how many of the highest values of a map make the score.
func (g *graph) top() int64 { return int64(max(1, int(g.cfg.Top()*float64(g.cfg.MapSize().Area())))) }

// judge adds the outputs: maps of present images, scores and, where there are thresholds, decisions. row [S] is nil
// where there is one class.
func (g *graph) judge(maps, present, row *onnx.Value, j *judges) {
	size, s, v := g.cfg.MapSize(), onnx.Objects(1), onnx.Dim{N: g.views}
	shown := g.Where(g.Reshape(present, s, v, onnx.Dim{N: 1}, onnx.Dim{N: 1}), maps, g.Scalar(0))
	g.Output(shown, "map", fmt.Sprintf("anomaly maps, %d x %d pixels; zeros of an absent image", size.Height(), size.Width()))
	values, _ := g.TopK(g.Reshape(maps, s, v, onnx.Dim{N: int64(size.Area())}), g.top(), true)
	score := g.ReduceMean(values, -1, false)
	seen := g.And(present, g.LessOrEqual(score, g.Scalar(math.MaxFloat32))) // not NaN
	seen = g.Name(g.And(seen, g.rowsOf(g.Bools("judged", j.judged(int(g.views)), int64(len(j.rows)), g.views), row)), "seen", "which images are judged")
	best := g.ReduceMax(g.Where(seen, score, g.Scalar(-1e30)), -1, false)
	some := g.Less(g.Scalar(-1e29), best)
	none := g.Scalar(float32(math.NaN()))
	score = g.Output(g.Where(seen, score, none), "score", fmt.Sprintf("of each image: mean of the %d highest values of its map; NaN where it is not judged", g.top()))
	best = g.Output(g.Where(some, best, none), "object_score", "of each object: the highest of its images; NaN where none is judged")
	if !j.calibrated() {
		return
	}
	column := func(x *onnx.Value) *onnx.Value { return g.Reshape(x, x.Dim(0), onnx.Dim{N: 1}) }
	each := g.decide("image", score, seen, row, j.scales(imageLevel), column)
	g.Output(each.value, "value", "score on a scale from 0 to 1, 0.5 at the threshold; NaN where the image is not judged")
	g.Output(g.And(present, each.defective), "defective", "which images are: not (score <= image_threshold)")
	whole := g.decide("object", best, some, row, j.scales(objectLevel), func(x *onnx.Value) *onnx.Value { return x })
	g.Output(whole.value, "object_value", "object_score on a scale from 0 to 1, 0.5 at the threshold; NaN where the object is not judged")
	g.Output(whole.defective, "object_defective", "which objects are: not (object_score <= object_threshold)")
}

// decision is what a threshold and a scale make of scores.
type decision struct{ value, defective *onnx.Value }

// decide compares scores, NaN where not seen, with the thresholds of their classes. The names of the settings begin with level;
// fit brings a value for each object to a shape that broadcasts to that of the scores.
func (g *graph) decide(level string, score, seen, row *onnx.Value, of []scaleRow, fit func(*onnx.Value) *onnx.Value) decision {
	n := int64(len(of))
	var thresholds, scales, tables []float32
	for _, r := range of {
		thresholds = append(thresholds, r.threshold)
		scales = append(scales, r.center, r.spread)
		tables = append(tables, r.odds...)
	}
	threshold := g.Setting(level+"_threshold", "scores above it are defective: of each class in the order of the metadata, then, of several, of an unknown class", thresholds, n)
	scale := g.Setting(level+"_scale", "center and spread of the logarithm of good scores, in the rows of "+level+"_threshold", scales, n, 2)
	pick := func(x *onnx.Value) *onnx.Value { return fit(g.rowsOf(x, row)) }
	limit := pick(threshold)
	center := pick(g.Reshape(g.Slice(scale, 1, 0, 1), onnx.Dim{N: n}))
	spread := pick(g.Reshape(g.Slice(scale, 1, 1, 1), onnx.Dim{N: n}))
	table, first := g.Floats(level+"_odds", tables, n*oddsPoints), (*onnx.Value)(nil)
	if row != nil {
		first = fit(g.Mul(row, g.Int(oddsPoints)))
	}
	odds := func(x *onnx.Value) *onnx.Value { // logarithm of the odds of a lower good score
		t := g.Div(g.Minus(g.Log(g.Max(x, g.Scalar(calibration.Smallest))), center), spread)
		at := g.Div(g.Add(g.Asinh(t), g.Scalar(oddsReach)), g.Scalar(oddsStep))
		at = g.Min(g.Max(at, g.Scalar(0)), g.Scalar(oddsPoints-1-1e-3))
		low := g.Floor(at)
		index := g.Cast(low, onnx.Int64)
		if first != nil {
			index = g.Add(index, first)
		}
		a, b := g.Gather(table, 0, index), g.Gather(table, 0, g.Add(index, g.Int(1)))
		return g.Add(a, g.Mul(g.Minus(b, a), g.Minus(at, low)))
	}
	safe := g.Where(seen, score, g.Scalar(1))
	value := g.Sigmoid(g.Minus(odds(safe), odds(limit)))
	return decision{g.Where(seen, value, g.Scalar(float32(math.NaN()))), g.Not(g.LessOrEqual(score, limit))}
}

// The table of [calibration.LogOdds] over asinh(t), linear in between: values are within 1e-4 of those of package
// calibration (TestValue).
const (
	oddsPoints = 2049
	oddsReach  = 7.6 // asinh(1000)
	oddsStep   = 2 * oddsReach / (oddsPoints - 1)
)

// oddsTable tabulates the logarithm of the odds.
func oddsTable(freedom float64) []float32 {
	table := make([]float32, oddsPoints)
	for i := range table {
		table[i] = float32(calibration.LogOdds(math.Sinh(-oddsReach+float64(i)*oddsStep), freedom))
	}
	return table
}
