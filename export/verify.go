package export

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/model/calibration"
)

// Case is an object and what this program says of it.
type Case struct {
	Name    string // of the object, in messages
	Pixels  []uint8
	Present []bool // [V]
	Class   int64  // index of its class among those of the description; any other number is an unknown class
	Images  []Judged
	Object  Judged
}

// withoutMaps is the case without anomaly maps.
func (c Case) withoutMaps() Case {
	c.Images = slices.Clone(c.Images)
	for i := range c.Images {
		c.Images[i].Map = nil
	}
	return c
}

// Judged is what this program says of an image or of an object. Its zero value is that of an absent image.
type Judged struct {
	Map       []float32          // of an image [h, w]; nil where there is none to compare with
	Score     float64            // NaN where there is nothing to judge
	Value     float64            // calibrated score
	Scale     *calibration.Scale // that judged; nil without a calibration
	Defective bool
}

// Limits are the largest differences between this program and a runtime.
type Limits struct {
	Map   float64 // absolute
	Score float64 // relative; scores below 1e-3, of copies of remembered images, count as that
	Value float64 // absolute: values change fast where good scores are almost equal
}

// LimitsOf are the limits for a file. They are wider where weights are rounded to float16, and of a model of several
// views that judges by its reconstruction, as attention across views keeps the tokens that differ most (model.select): of
// two that are almost equal, rounding decides, and all that is seen of the object changes a little.
func LimitsOf(cfg configs.Config, d *Description) Limits {
	l, wider := Limits{Map: 1e-3, Score: 1e-4, Value: 1e-2}, 1.
	judges := d.Classes
	if d.Unknown != nil {
		judges = append(judges[:len(judges):len(judges)], *d.Unknown)
	}
	reconstructs := slices.ContainsFunc(judges, func(c Class) bool {
		return c.Head != "" && c.Head != calibration.Memory
	})
	if d.Weights == "float16" || reconstructs && nearTies(cfg) {
		wider = 10
	}
	return Limits{l.Map * wider, l.Score * wider, l.Value * wider}
}

// Report compares a runtime with this program.
type Report struct {
	Runtime, Version string
	Objects, Images  int     // Images are those present
	Map              float64 // largest absolute difference of a map
	Score, Value     float64 // largest differences of scores, relative, and of values, absolute
	Decisions        int     // on images and objects
	Different        int     // of them
	Near             int     // of those that differ, where the score is nearer to its threshold than the limit
	Changed          int     // decisions that other thresholds were to flip, by as many objects as are kept for that
	Unmoved          int     // decisions at other thresholds that are not as they should be
	First            string  // the first difference that is too large; "" where there is none
}

// Err is an error where the runtime does not say what this program says.
func (r *Report) Err() error {
	if r.First == "" {
		return nil
	}
	return fmt.Errorf("%s %s: %s", r.Runtime, r.Version, r.First)
}

// layout are the sizes of the arrays of a graph.
type layout struct {
	views, height, width int // of images, in pixels
	rows, columns        int // of maps
	known                int // classes with a name
	classes              int // that are told apart: of several, an unknown one, too
	judges               bool
}

// newLayout returns the sizes of the graph that d describes.
func newLayout(d *Description) layout {
	l := layout{
		views: d.Input.Views, height: d.Input.Height, width: d.Input.Width, rows: d.Map.Height, columns: d.Map.Width,
		known: len(d.Classes), classes: len(d.Classes),
	}
	if d.Unknown != nil {
		l.classes++
		l.judges = d.Unknown.Object != nil
	}
	for _, c := range d.Classes {
		l.judges = l.judges || c.Object != nil
	}
	return l
}

// batches are the numbers of objects that go through the graph together, in turn: its first dimension is open.
var batches = []int{1, 3, 2}

// Verify runs objects through a file in each of the runtimes and compares: cases calls its argument for each object.
// Afterwards it changes all thresholds and scales so that decisions on the first objects of each class flip, and compares
// again. A difference is no error here but in the reports, one a runtime.
func (p *Python) Verify(
	ctx context.Context, model string, d *Description, runtimes []string, limits Limits,
	cases func(use func(Case) error) error,
) ([]Report, error) {
	all, err := p.load(ctx, model, d, runtimes, limits)
	each := func(do func(*verification) error) error {
		for _, v := range all {
			if err := do(v); err != nil {
				return err
			}
		}
		return nil
	}
	if err == nil {
		err = cases(func(c Case) error { return each(func(v *verification) error { return v.add(c) }) })
	}
	if err == nil {
		err = each((*verification).finish)
	}
	var reports []Report
	for _, v := range all {
		err = v.end(err)
		reports = append(reports, v.Report)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", model, err)
	}
	return reports, nil
}

// load loads a file in runtimes. The caller ends the sessions, after an error, too.
func (p *Python) load(
	ctx context.Context, model string, d *Description, runtimes []string, limits Limits,
) (all []*verification, err error) {
	for _, name := range runtimes {
		v := &verification{layout: newLayout(d), limits: limits, kept: map[int][]Case{}}
		v.Runtime, v.Version = name, p.Versions[name]
		if v.session, err = p.start(ctx, model, name, v.arrays()); err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}

// arrays names what a record consists of, for the script.
func (l layout) arrays() any {
	type array []any
	inputs := []array{{"images", "uint8", []int{l.views, 3, l.height, l.width}}, {"present", "bool", []int{l.views}}}
	if l.classes > 1 {
		inputs = append(inputs, array{"class", "int64", []int{}})
	}
	outputs, settings := []string{"map", "score", "object_score"}, []array{}
	if l.judges {
		outputs = append(outputs, "value", "object_value", "defective", "object_defective")
		n := l.classes
		settings = []array{
			{"image_threshold", []int{n}}, {"object_threshold", []int{n}},
			{"image_scale", []int{n, 2}}, {"object_scale", []int{n, 2}},
		}
	}
	return map[string]any{"inputs": inputs, "settings": settings, "outputs": outputs}
}

// row is the row of the settings that a class number stands for.
func (l layout) row(class int64) int {
	switch {
	case l.classes == 1:
		return 0
	case class < 0 || class >= int64(l.known):
		return l.known
	}
	return int(class)
}

// verification is a comparison in progress.
type verification struct {
	layout
	*session
	Report
	limits Limits
	batch  []Case
	turn   int            // of batches
	kept   map[int][]Case // the first of each row of the settings
}

// keep is how many objects of each class are judged at other thresholds, too: fewer of many classes, as they are held in
// memory.
func (l layout) keep() int { return min(8, max(2, 64/l.classes)) }

// add compares a case, together with others.
func (v *verification) add(c Case) error {
	if err := v.fits(c); err != nil {
		return err
	}
	if row := v.row(c.Class); len(v.kept[row]) < v.keep() {
		v.kept[row] = append(v.kept[row], c.withoutMaps())
	}
	if v.batch = append(v.batch, c); len(v.batch) < batches[v.turn%len(batches)] {
		return nil
	}
	return v.flush()
}

// finish compares what is left, then the cases that are kept at other settings.
func (v *verification) finish() error {
	if err := v.flush(); err != nil {
		return err
	}
	if v.Objects == 0 {
		return errors.New("have no object, want one to compare with")
	}
	return v.change()
}

// fits returns an error unless a case has the sizes of the graph.
func (v *verification) fits(c Case) error {
	if len(c.Pixels) != v.views*3*v.height*v.width || len(c.Present) != v.views || len(c.Images) != v.views {
		return fmt.Errorf("object %q: have %d pixel values and %d views, want %d and %d of %dx%d pixels",
			c.Name, len(c.Pixels), len(c.Present), v.views*3*v.height*v.width, v.views, v.width, v.height)
	}
	return nil
}

// flush compares the cases of the batch with what the graph says.
func (v *verification) flush() error {
	if len(v.batch) == 0 {
		return nil
	}
	a, err := v.answer(v.batch, nil)
	if err != nil {
		return err
	}
	for i, c := range v.batch {
		v.compare(c, a.object(i))
	}
	v.batch, v.turn = v.batch[:0], v.turn+1
	return nil
}

// answer runs cases through the graph, with other settings unless they are nil.
func (v *verification) answer(cases []Case, s *settings) (*answer, error) {
	record := binary.LittleEndian.AppendUint32(nil, uint32(len(cases)))
	record = append(record, truth(s != nil))
	for _, c := range cases {
		record = append(record, c.Pixels...)
	}
	for _, c := range cases {
		for _, present := range c.Present {
			record = append(record, truth(present))
		}
	}
	for _, c := range cases {
		if v.classes > 1 {
			record = binary.LittleEndian.AppendUint64(record, uint64(c.Class))
		}
	}
	if s != nil {
		for _, values := range [][]float32{s.image.thresholds, s.object.thresholds, s.image.scales, s.object.scales} {
			record = append(record, encodeFloats(values)...)
		}
	}
	n, images := len(cases), len(cases)*v.views
	a := &answer{views: v.views, area: v.rows * v.columns}
	raw := [][]byte{make([]byte, 4*images*a.area), make([]byte, 4*images), make([]byte, 4*n)}
	if v.judges {
		raw = append(raw, make([]byte, 4*images), make([]byte, 4*n), make([]byte, images), make([]byte, n))
	}
	if err := v.ask(record, raw...); err != nil {
		return nil, err
	}
	a.maps, a.images.scores, a.objects.scores = decodeFloats(raw[0]), decodeFloats(raw[1]), decodeFloats(raw[2])
	if v.judges {
		a.images.values, a.objects.values = decodeFloats(raw[3]), decodeFloats(raw[4])
		a.images.defective, a.objects.defective = raw[5], raw[6]
	}
	return a, nil
}

// answer is what a graph says of a batch.
type answer struct {
	views, area     int
	maps            []float32 // [objects, V, area]
	images, objects verdicts
}

// verdicts are scores, values and decisions. Without a calibration, there are only scores.
type verdicts struct {
	scores, values []float32
	defective      []byte
}

func (v verdicts) slice(from, n int) verdicts {
	v.scores = v.scores[from:][:n]
	if v.values != nil {
		v.values, v.defective = v.values[from:][:n], v.defective[from:][:n]
	}
	return v
}

// object is what the graph says of object i of the batch.
func (a *answer) object(i int) *answer {
	n := a.views
	return &answer{n, a.area, a.maps[i*n*a.area:][:n*a.area], a.images.slice(i*n, n), a.objects.slice(i, 1)}
}

func truth(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func encodeFloats(values []float32) (out []byte) {
	for _, v := range values {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func decodeFloats(raw []byte) []float32 {
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}
