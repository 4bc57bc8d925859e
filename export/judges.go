package export

import (
	"fmt"
	"maps"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/internal/onnx"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
)

// Thresholds are raised by a fraction: the score of the calibration object that defines one is equal to it, and another
// runtime may round it up.
const (
	margin = 1e-5
	// tieMargin is that where near ties decide, which move scores by 1e-4 (docs/export.md).
	tieMargin = 2e-4
)

// nearTies says whether rounding may decide which tokens a reconstruction keeps across views.
func nearTies(cfg configs.Config) bool { return cfg.Data.Views > 1 && cfg.Model.Select != "all" }

// judges are the classes, and last, where there are several, what an unknown class is judged by.
type judges struct {
	rows   []judge
	names  []string // of the classes
	margin float64
}

// judge is how the objects of a class are judged.
type judge struct {
	class  string
	head   string     // "" where it cannot be judged
	why    error      // why it cannot
	weight [2]float32 // of the maps of reconstruction and memory
	memory *memory.Class
	levels *calibration.Calibration // of the head; nil where the checkpoint has none
}

// newJudges finds out what judges each class. The error is that nothing can be judged.
func newJudges(cfg configs.Config, m *memory.Memory, trained checkpoint.Info, heads calibration.Heads) (*judges, error) {
	known := map[string]bool{}
	for class := range trained.TrainLists {
		known[class] = true
	}
	for _, class := range m.Names() {
		known[class] = true
	}
	for _, c := range []*calibration.Calibration{heads.Reconstruction, heads.Memory, heads.Both} {
		if c != nil {
			for _, class := range c.ClassNames() {
				known[class] = true
			}
		}
	}
	j := &judges{names: slices.Sorted(maps.Keys(known)), margin: margin}
	all := slices.Clone(j.names)
	if len(all) != 1 {
		all = append(all, "")
	}
	var first error
	for _, class := range all {
		one := newJudge(cfg.Inspect.Head, class, m, heads)
		if first == nil {
			first = one.why
		}
		j.rows = append(j.rows, one)
	}
	calibrated := slices.ContainsFunc(j.rows, func(r judge) bool { return r.levels != nil })
	able := false
	for i := range j.rows {
		r := &j.rows[i]
		if calibrated && r.levels == nil && r.head != "" {
			r.why, r.head = fmt.Errorf("class %q: have no calibration of head %s, want one", r.class, r.head), ""
		}
		able = able || r.head != ""
	}
	if !able {
		return nil, first
	}
	if j.uses(0) && nearTies(cfg) {
		j.margin = tieMargin
	}
	return j, nil
}

// newJudge is what judges a class.
func newJudge(wanted, class string, m *memory.Memory, heads calibration.Heads) judge {
	j := judge{class: class, memory: m.Of(class)}
	if j.head, j.why = heads.Head(wanted, class, m); j.why != nil {
		if class == "" { // the file judges objects of no class as those of an unknown one
			j.why = fmt.Errorf("objects of an unknown class: have no memory of them, want one of the remembered classes %q", m.Names())
		}
		return j
	}
	j.levels = heads.Of(j.head)
	switch j.head {
	case calibration.Reconstruction:
		j.weight[0] = 1
	case calibration.Memory:
		j.weight[1] = 1
	case calibration.Both:
		l, _ := heads.LevelsOf(class) // Head knows that there are some
		j.weight = [2]float32{float32(0.5 / l.Reconstruction), float32(0.5 / l.Memory)}
	}
	return j
}

// uses says whether any class is judged by the map of reconstruction (0) or memory (1).
func (j *judges) uses(head int) bool {
	return slices.ContainsFunc(j.rows, func(r judge) bool { return r.head != "" && r.weight[head] != 0 })
}

// calibrated says whether there are thresholds.
func (j *judges) calibrated() bool {
	return slices.ContainsFunc(j.rows, func(r judge) bool { return r.head != "" && r.levels != nil })
}

// remembered are the classes that something is remembered of, and for each row which of them it is compared with; one
// that has none is compared with the first, which does not count.
func (j *judges) remembered() (classes []*memory.Class, of []int64) {
	for _, r := range j.rows {
		at := int64(slices.Index(classes, r.memory))
		if r.memory == nil || r.weight[1] == 0 {
			at = 0
		} else if at < 0 {
			at, classes = int64(len(classes)), append(classes, r.memory)
		}
		of = append(of, at)
	}
	return classes, of
}

// judged says for each row and camera whether its images are.
func (j *judges) judged(views int) (list []bool) {
	for _, r := range j.rows {
		list = append(list, r.cameras(views)...)
	}
	return list
}

// cameras says of each whether its images are judged: where the memory counts, what is remembered of the camera.
func (r judge) cameras(views int) []bool {
	list := make([]bool, views)
	for camera := range list {
		list[camera] = r.head != ""
		if r.head != "" && r.weight[1] != 0 {
			_, list[camera] = r.memory.Cameras[camera]
		}
	}
	return list
}

// level is one of a calibration.
type level func(*calibration.Calibration) calibration.Level

func imageLevel(c *calibration.Calibration) calibration.Level  { return c.Image }
func objectLevel(c *calibration.Calibration) calibration.Level { return c.Object }
func pixelLevel(c *calibration.Calibration) calibration.Level  { return c.Pixel }

// scaleRow is the scale of a class as the graph has it.
type scaleRow struct {
	threshold, center, spread float32
	odds                      []float32
}

// scales are those of all rows at a level. One that is not judged has any.
func (j *judges) scales(at level) (rows []scaleRow) {
	for _, r := range j.rows {
		s := calibration.Scale{Threshold: 1, Spread: 1, Freedom: 1}
		if r.head != "" {
			s = at(r.levels).For(r.class)
		}
		rows = append(rows, scaleRow{
			threshold: float32(s.Threshold * (1 + j.margin)), center: float32(s.Center), spread: float32(s.Spread),
			odds: oddsTable(s.Freedom),
		})
	}
	return rows
}

// row is the row [S] of the class of each object in images [S, …], nil where there is one class.
func (g *graph) row(j *judges, images *onnx.Value) *onnx.Value {
	if len(j.rows) == 1 {
		return nil
	}
	n := int64(len(j.names))
	doc := fmt.Sprintf("number of the class in the metadata, 0 to %d; any other is an unknown class", n-1)
	class := g.Require(g.Input("class", doc, onnx.Int64, onnx.Objects(1)), images)
	known := g.And(g.LessOrEqual(g.Int(0), class), g.Less(class, g.Int(n)))
	return g.Name(g.Where(known, class, g.Int(n)), "row", "of the tables of classes; the last is that of an unknown class")
}

// weights are those of the maps of reconstruction and memory, [S or 1, 1, 1, 1] each; nil for a map that is not used, and
// where all are 1.
func (g *graph) weights(j *judges, row *onnx.Value) []*onnx.Value {
	out := make([]*onnx.Value, 2)
	for head, name := range []string{"weight.reconstruction", "weight.memory"} {
		var values []float32
		for _, r := range j.rows {
			values = append(values, r.weight[head])
		}
		scaled := func(v float32) bool { return v != 1 && v != 0 }
		if j.uses(head) && (j.uses(1-head) || slices.ContainsFunc(values, scaled)) {
			w := g.rowsOf(g.Floats(name, values, int64(len(values))), row)
			out[head] = g.Reshape(w, append(slices.Clone(w.Shape), dims(1, 1, 1)...)...)
		}
	}
	return out
}
