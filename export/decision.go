package export

import (
	"fmt"
	"math"

	"mvag-torch/configs"
	"mvag-torch/internal/onnx"
	"mvag-torch/model/calibration"
	"mvag-torch/model/imagescore"
)

// judge adds the outputs: maps of present images, scores and, where there are thresholds, decisions. row [S] is nil
// where there is one class.
func (g *graph) judge(maps, present, row *onnx.Value, j *judges) {
	size, s, v := g.cfg.MapSize(), onnx.Objects(1), onnx.Dim{N: g.views}
	shown := g.Where(g.Reshape(present, s, v, onnx.Dim{N: 1}, onnx.Dim{N: 1}), maps, g.Scalar(0))
	g.Output(shown, "map", fmt.Sprintf("anomaly maps, %d x %d pixels (height x width); zeros of an absent image", size.Height(), size.Width()))

	highest, _ := g.TopK(g.Reshape(maps, s, v, onnx.Dim{N: int64(size.Area())}), g.top(), true)
	score := g.ReduceMean(highest, -1, false)
	able := g.rowsOf(g.Bools("judged", j.judged(int(g.views)), int64(len(j.rows)), g.views), row)
	seen := g.And(g.And(present, g.LessOrEqual(score, g.Scalar(math.MaxFloat32))), able) // and not NaN
	seen = g.Name(seen, "seen", "which images are judged")
	best := g.ReduceMax(g.Where(seen, score, g.Scalar(-1e30)), -1, false)
	some := g.Less(g.Scalar(-1e29), best)
	score = g.Output(g.orNaN(seen, score), "score",
		fmt.Sprintf("of each image: mean of the %d highest values of its map; NaN where it is not judged", g.top()))
	best = g.Output(g.orNaN(some, best), "object_score", "of each object: the highest of its images; NaN where none is judged")
	if !j.calibrated() {
		return
	}
	each := &decider{graph: g, level: "image", row: row, of: j.scales(imageLevel), views: true}
	value, defective := each.decide(score, seen)
	g.Output(value, "value", "score from 0 to 1, 0.5 at the threshold; NaN where the image is not judged")
	g.Output(g.And(present, defective), "defective", "which images are: not (score <= image_threshold)")
	whole := &decider{graph: g, level: "object", row: row, of: j.scales(objectLevel)}
	value, defective = whole.decide(best, some)
	g.Output(value, "object_value", "object_score from 0 to 1, 0.5 at the threshold; NaN where the object is not judged")
	g.Output(defective, "object_defective", "which objects are: not (object_score <= object_threshold)")
}

// top is how many of the highest values of a map make the score.
func (g *graph) top() int64 { return topOf(g.cfg) }

func topOf(cfg configs.Config) int64 { return int64(imagescore.Count(cfg.Top(), cfg.MapSize().Area())) }

// orNaN is x where it is there.
func (g *graph) orNaN(there, x *onnx.Value) *onnx.Value {
	return g.Where(there, x, g.Scalar(float32(math.NaN())))
}

// decider compares scores with the thresholds of their classes.
type decider struct {
	*graph
	level string      // image or object: what the names of the settings begin with
	row   *onnx.Value // of the class of each object [S]; nil where there is one class
	of    []scaleRow
	views bool // scores are [S, V], else [S]

	center, spread *onnx.Value // of the class of each object
	table, first   *onnx.Value // of odds, and where those of the class begin; nil where there is one class
}

// decide maps scores, NaN where not seen, to calibrated values and decisions ([calibration.Scale.Value]).
func (d *decider) decide(score, seen *onnx.Value) (value, defective *onnx.Value) {
	n := int64(len(d.of))
	var thresholds, scales, tables []float32
	for _, r := range d.of {
		thresholds = append(thresholds, r.threshold)
		scales = append(scales, r.center, r.spread)
		tables = append(tables, r.odds...)
	}
	limit := d.fit(d.rowsOf(d.Setting(d.level+"_threshold",
		"scores above it are defective: of each class in the order of the metadata; of several, last of an unknown class",
		thresholds, n), d.row))
	scale := d.Setting(d.level+"_scale",
		"center and spread of the logarithm of good scores, in the rows of "+d.level+"_threshold", scales, n, 2)
	column := func(i int64) *onnx.Value {
		return d.fit(d.rowsOf(d.Reshape(d.Slice(scale, 1, i, 1), onnx.Dim{N: n}), d.row))
	}
	d.center, d.spread = column(0), column(1)
	d.table = d.Floats(d.level+"_odds", tables, n*oddsPoints)
	if d.row != nil {
		d.first = d.fit(d.Mul(d.row, d.Int(oddsPoints)))
	}
	safe := d.Where(seen, score, d.Scalar(1)) // NaN has no place in the table
	value = d.Sigmoid(d.Minus(d.odds(safe), d.odds(limit)))
	return d.orNaN(seen, value), d.Not(d.LessOrEqual(score, limit))
}

// fit brings a value for each object to a shape that broadcasts to that of the scores.
func (d *decider) fit(x *onnx.Value) *onnx.Value {
	if !d.views {
		return x
	}
	return d.Reshape(x, x.Dim(0), onnx.Dim{N: 1})
}

// odds is [calibration.LogOdds] of scores, from the table.
func (d *decider) odds(score *onnx.Value) *onnx.Value {
	t := d.Div(d.Minus(d.Log(d.Max(score, d.Scalar(calibration.Smallest))), d.center), d.spread)
	at := d.Div(d.Add(d.Asinh(t), d.Scalar(oddsReach)), d.Scalar(oddsStep))
	at = d.Min(d.Max(at, d.Scalar(0)), d.Scalar(oddsPoints-1-1e-3))
	low := d.Floor(at)
	index := d.Cast(low, onnx.Int64)
	if d.first != nil {
		index = d.Add(index, d.first)
	}
	a, b := d.Gather(d.table, 0, index), d.Gather(d.table, 0, d.Add(index, d.Int(1)))
	return d.Add(a, d.Mul(d.Minus(b, a), d.Minus(at, low)))
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
