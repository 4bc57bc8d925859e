package score

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"mvag-torch/eval/metric"
	"mvag-torch/eval/report"
	"mvag-torch/internal/npy"
)

// Found is the result of a folder of maps.
type Found struct {
	Results report.Results
	Images  []Image
	Objects []Object
	Curves  []Curve
}

// protocol is the head of results.json for maps that come from files.
type protocol struct {
	Data        string              `json:"data"`
	MaskRule    string              `json:"mask_rule"`
	ImageScore  string              `json:"image_score"`
	Top         float64             `json:"top"`
	ObjectScore string              `json:"object_score"`
	AuproLimit  float64             `json:"aupro_limit"`
	Mean        string              `json:"mean"`
	EmptyMasks  int                 `json:"empty_masks"`
	Excluded    map[string][]string `json:"excluded"`
}

// Folder scores the maps of every class in a folder (docs/format/maps.md), in order of names. Progress is called with
// the number of images scored so far, one call at a time. Errors name the file.
func Folder(ctx context.Context, folder string, opt Options, progress func(class string, done, total int)) (Found, error) {
	entries, err := os.ReadDir(folder) // by name
	if err != nil {
		return Found{}, err
	}
	var classes []*source
	defer func() {
		for _, s := range classes {
			s.close()
		}
	}()
	total := 0
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), MapsSuffix)
		if !ok {
			continue
		}
		s, err := open(folder, name)
		if err != nil {
			return Found{}, err
		}
		classes = append(classes, s)
		total += len(s.rows)
	}
	if len(classes) == 0 {
		return Found{}, fmt.Errorf("%s: have no file *%s", folder, MapsSuffix)
	}
	p := protocol{
		Data: "maps", MaskRule: "not zero", ImageScore: "of the table, else mean of the top fraction of map pixels", Top: opt.Top,
		ObjectScore: "max over views", AuproLimit: opt.AuproLimit, Mean: "plain mean over classes",
	}
	var out Found
	done := 0
	for _, s := range classes {
		r, err := s.evaluate(ctx, opt, func(n int) { progress(s.name, done+n, total) })
		if err != nil {
			return Found{}, err
		}
		done += len(s.rows)
		p.EmptyMasks += r.Class.Defective - r.Class.Masks
		out.Results.Classes = append(out.Results.Classes, r.Class)
		out.Images, out.Objects = append(out.Images, r.Images...), append(out.Objects, r.Objects...)
		out.Curves = append(out.Curves, r.Curve)
	}
	p.Excluded = out.Results.Excluded()
	out.Results.Protocol = p
	return out, nil
}

// row is a line of the table of a class. Any member may be missing.
type row struct {
	Object string         `json:"object"`
	Camera int            `json:"camera"`
	Path   string         `json:"path"`
	Label  *int           `json:"label"`
	Code   string         `json:"defect"`
	Score  *metric.Number `json:"score"`
}

// source is the files of one class.
type source struct {
	name          string
	maps, masks   *npy.File
	height, width int
	rows          []row
}

// open opens the files of a class in folder, whose names begin with name.
func open(folder, name string) (*source, error) {
	s := &source{name: className(name)}
	prefix := filepath.Join(folder, name)
	var err error
	if s.maps, err = npy.Open(prefix + MapsSuffix); err != nil {
		return nil, err
	}
	if s.masks, err = npy.Open(prefix + MasksSuffix); err == nil {
		err = s.check()
	}
	if err == nil {
		err = s.table(prefix + TableSuffix)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *source) close() {
	s.maps.Close()
	if s.masks != nil {
		s.masks.Close()
	}
}

// check compares the shapes of maps and masks.
func (s *source) check() error {
	shape, masks := withoutChannel(s.maps.Shape), withoutChannel(s.masks.Shape)
	if len(shape) != 3 || slices.Contains(shape, 0) {
		return fmt.Errorf("%s: have shape %v, want [images, height, width]", s.maps.Path, s.maps.Shape)
	}
	if !slices.Equal(masks, shape) {
		return fmt.Errorf("%s: have shape %v, want %v as %s", s.masks.Path, s.masks.Shape, s.maps.Shape, s.maps.Path)
	}
	s.height, s.width = shape[1], shape[2]
	s.rows = make([]row, shape[0])
	return nil
}

// withoutChannel drops the second of four axes if its length is 1.
func withoutChannel(shape []int) []int {
	if len(shape) == 4 && shape[1] == 1 {
		return slices.Delete(slices.Clone(shape), 1, 2)
	}
	return shape
}

// table reads the table, if there is one, and fills in what is missing.
func (s *source) table(path string) error {
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err == nil {
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		for i, line := range lines[:min(len(lines), len(s.rows))] {
			if err := json.Unmarshal([]byte(line), &s.rows[i]); err != nil {
				return fmt.Errorf("%s:%d: %w", path, i+1, err)
			}
			if label := s.rows[i].Label; label != nil && *label != 0 && *label != 1 {
				return fmt.Errorf("%s:%d: label: have %d, want 0 or 1", path, i+1, *label)
			}
		}
		if len(lines) != len(s.rows) {
			return fmt.Errorf("%s: have %d lines, want %d, one per image", path, len(lines), len(s.rows))
		}
	}
	for i := range s.rows {
		r := &s.rows[i]
		r.Path = cmp.Or(r.Path, fmt.Sprintf("%s row %d", s.maps.Path, i))
		r.Object = cmp.Or(r.Object, r.Path) // by itself
		r.Camera = max(1, r.Camera)
	}
	return nil
}

// object is one object with its rows.
type object struct {
	id   string
	rows []int
}

// objects groups the rows by object, in the order of first rows.
func (s *source) objects() []object {
	var out []object
	index := map[string]int{}
	for i, r := range s.rows {
		n, ok := index[r.Object]
		if !ok {
			n = len(out)
			index[r.Object] = n
			out = append(out, object{id: r.Object})
		}
		out[n].rows = append(out[n].rows, i)
	}
	return out
}

// evaluate reads the masks of all images, then scores the objects with defective pixels, then the others.
func (s *source) evaluate(ctx context.Context, opt Options, progress func(done int)) (Result, error) {
	marked := make([]bool, len(s.rows))
	err := Each(ctx, len(s.rows), func(i int) error {
		mask, err := s.mask(i)
		marked[i] = slices.Contains(mask, true)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	class := NewClass(s.name, opt)
	objects := s.objects()
	var mu sync.Mutex
	done := 0
	for _, defective := range []bool{true, false} {
		var of []int // indices of objects
		for n, o := range objects {
			if slices.ContainsFunc(o.rows, func(i int) bool { return marked[i] }) == defective {
				of = append(of, n)
			}
		}
		err := Each(ctx, len(of), func(i int) error {
			o := objects[of[i]]
			if err := s.add(class, of[i], o, marked); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done += len(o.rows)
			progress(done)
			return nil
		})
		if err != nil {
			return Result{}, err
		}
		class.Seal()
	}
	return class.Finish()
}

// add scores one object.
func (s *source) add(class *Class, index int, o object, marked []bool) error {
	var views []View
	for _, i := range o.rows {
		scores, err := s.maps.Read(i, nil)
		if err != nil {
			return err
		}
		r := s.rows[i]
		v := View{
			Camera: r.Camera, Path: r.Path, Code: r.Code, Defective: marked[i],
			Height: s.height, Width: s.width, Scores: scores, Score: (*float64)(r.Score),
		}
		if r.Label != nil {
			v.Defective = *r.Label == 1
		}
		if marked[i] {
			if v.Mask, err = s.mask(i); err != nil {
				return err
			}
		}
		views = append(views, v)
	}
	_, err := class.Add(index, o.id, views)
	return err
}

// mask reads one mask: every value but zero is a defect.
func (s *source) mask(i int) ([]bool, error) {
	values, err := s.masks.Read(i, nil)
	if err != nil {
		return nil, err
	}
	mask := make([]bool, len(values))
	for j, v := range values {
		if v != v {
			return nil, fmt.Errorf("%s: row %d: have NaN, want a mask", s.masks.Path, i)
		}
		mask[j] = v != 0
	}
	return mask, nil
}

// Each calls work for 0..n-1 in as many goroutines as there are CPUs. It stops at the first error and returns it.
func Each(ctx context.Context, n int, work func(i int) error) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := 0; i < n && within.Err() == nil; i++ {
		group.Go(func() error { return work(i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}
