package page

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/eval/metric"
)

// table is a table that can be sorted.
type table struct {
	ID, Caption string
	Head        []column
	Rows        [][]cell
	Foot        []cell // stays last; nil for none
}

type column struct {
	Name, Title string // Title explains the name
	Text        bool   // sorted as text
}

// cell is a text and its sorting key; cells with the key "" come last.
type cell struct {
	Text, Sort string
	Bar        string // length of a bar behind the text, a fraction; "" for none
	Left       bool   // aligned as text
}

func word(s string) cell { return cell{Text: s, Sort: s, Left: true} }

// percent is a cell for a fraction.
func percent(v float64) cell {
	if math.IsNaN(v) {
		return cell{Text: "n/a"}
	}
	return cell{Text: strconv.FormatFloat(100*v, 'f', 1, 64), Sort: number(v), Bar: strconv.FormatFloat(v, 'f', 3, 64)}
}

func whole(n int) cell { return cell{Text: strconv.Itoa(n), Sort: strconv.Itoa(n)} }

// scored is a cell for a score.
func scored(v float64) cell { return cell{Text: short(v), Sort: number(v)} }

// number is the sorting key of v.
func number(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// short formats v with four digits.
func short(v float64) string {
	if math.IsNaN(v) {
		return "n/a"
	}
	if a := math.Abs(v); a >= 1e-3 && a < 1e5 {
		return strconv.FormatFloat(v, 'f', max(0, 3-int(math.Floor(math.Log10(a)))), 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// every lists all metrics, mAD first.
func every() []metric.Name {
	all := []metric.Name{metric.MAD}
	for n := range metric.Count {
		if n != metric.MAD {
			all = append(all, n)
		}
	}
	return all
}

// perCamera are the metrics of a single camera: all but those of objects.
func perCamera() []metric.Name {
	return slices.DeleteFunc(every(), func(n metric.Name) bool { return measured(n) == "objects" })
}

// newTable returns a table of columns of text, followed by metrics.
func newTable(id, caption string, of []metric.Name, text ...string) *table {
	t := &table{ID: id, Caption: caption}
	for _, name := range text {
		t.Head = append(t.Head, column{Name: name, Text: true})
	}
	for _, n := range of {
		t.Head = append(t.Head, column{Name: n.String(), Title: measured(n) + ", %"})
	}
	return t
}

// row returns a row of such a table.
func row(v metric.Values, of []metric.Name, text ...string) []cell {
	var out []cell
	for _, s := range text {
		out = append(out, word(s))
	}
	for _, n := range of {
		out = append(out, percent(v[n]))
	}
	return out
}

func (r *run) classTable() *table {
	t := newTable("classes", "Percent; the last row is the plain mean over classes. A heading sorts by its column, again the other way.", every(), "class")
	t.Head = append(t.Head, column{Name: "objects", Title: "test objects"}, column{Name: "images", Title: "test images"},
		column{Name: "defective", Title: "defective images"})
	for _, c := range r.results.Classes {
		t.Rows = append(t.Rows, append(row(c.Values, every(), c.Name), whole(c.Objects), whole(c.Images), whole(c.Defective)))
		for _, head := range slices.Backward(slices.Sorted(maps.Keys(c.Heads))) { // memory, both
			t.Rows = append(t.Rows, append(row(c.Heads[head], every(), c.Name+", by "+head), whole(c.Objects), whole(c.Images), whole(c.Defective)))
		}
	}
	for _, h := range r.results.Heads() {
		if len(r.results.Classes) > 1 {
			t.Rows = append(t.Rows, append(row(h.Mean, every(), "mean, by "+h.Name), cell{}, cell{}, cell{}))
		}
	}
	if alone := r.results.Alone(); alone != nil {
		t.Caption += " Judged by memory alone, as the model was not trained on them: " + strings.Join(alone, ", ") + "."
	}
	if r.results.Heads() != nil {
		t.Caption += " Rows by memory have the distance to patches of good parts, which needs no training; rows by both have the mean of both maps."
	}
	if len(t.Rows) > 1 {
		mean, _ := r.results.Mean()
		t.Foot = append(row(mean, every(), "mean"), cell{}, cell{}, cell{})
	}
	return t
}

// cameraTable has a row per camera and class, below the means over classes if there are several.
func (r *run) cameraTable() *table {
	t := newTable("cameras", "Percent; each camera's images judged by themselves. A camera that sees few of the defects, or has good images that look odd, stands out here.",
		perCamera(), "class", "camera")
	byCamera := map[string][]metric.Values{}
	for _, c := range r.results.Classes {
		if c.Details == nil {
			continue
		}
		for _, camera := range natural(maps.Keys(c.Details.Views)) {
			v := c.Details.Views[camera]
			byCamera[camera] = append(byCamera[camera], v)
			t.Rows = append(t.Rows, row(v, perCamera(), c.Name, camera))
		}
	}
	if len(r.results.Classes) > 1 {
		var means [][]cell
		for _, camera := range natural(maps.Keys(byCamera)) {
			mean, _ := metric.Mean(byCamera[camera])
			means = append(means, row(mean, perCamera(), "(mean)", camera))
		}
		t.Rows = append(means, t.Rows...)
	}
	return t.orNil()
}

func (r *run) defectTable() *table {
	t := newTable("defects", "Percent; the images, pixels and objects of one kind of defect among all good ones of the class. Low rows are the defects the model does not see.",
		every(), "class", "defect")
	for _, c := range r.results.Classes {
		if c.Details == nil {
			continue
		}
		for _, code := range slices.Sorted(maps.Keys(c.Details.Defects)) {
			t.Rows = append(t.Rows, row(c.Details.Defects[code], every(), c.Name, code))
		}
	}
	return t.orNil()
}

// otherTable has the means by the rules of other programs.
func (r *run) otherTable() *table {
	t := &table{ID: "other", Caption: "Percent, means over classes: the same maps scored by the rules of other programs, for comparing with published tables."}
	t.Head = []column{{Name: "rule", Text: true}, {Name: "mean"}}
	compat := r.results.Compat()
	for _, name := range slices.Sorted(maps.Keys(compat)) {
		t.Rows = append(t.Rows, []cell{word(name), percent(float64(compat[name]))})
	}
	return t.orNil()
}

func (t *table) orNil() *table {
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

// natural sorts C2 before C10.
func natural(names func(func(string) bool)) []string {
	return slices.SortedFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
}

// tile is a value of the summary.
type tile struct {
	Name, Value, About string
	Main               bool
}

// headline returns mAD, the seven metrics whose mean it is, and those of objects.
func (r *run) headline() []tile {
	mean, skipped := r.results.Mean()
	var out []tile
	for _, n := range every() {
		about := measured(n)
		if skipped[n] > 0 {
			about += fmt.Sprintf("; undefined in %d of %d classes", skipped[n], len(r.results.Classes))
		}
		out = append(out, tile{n.String(), percent(mean[n]).Text, about, n == metric.MAD})
	}
	return out
}
