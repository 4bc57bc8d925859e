package score

import (
	"bufio"
	"bytes"
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

// Found are the results of a folder of maps.
type Found struct {
	Results report.Results
	Images  []Image
	Objects []Object
	Curves  []Curve
}

// protocol is what is known of maps that come from files.
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

// Folder scores the maps of every class in a folder (docs/format/maps.md), by name. Errors name the file. Progress is
// called with the number of images scored, one call at a time.
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
		Data: "maps", MaskRule: "not zero", ImageScore: "as given, else mean of the top fraction of map pixels", Top: opt.Top,
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

// row is what a table says of a image; all of it may be missing.
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

// check compares the shapes.
func (s *source) check() error {
	shape := slices.Clone(s.maps.Shape)
	if len(shape) == 4 && shape[1] == 1 { // of channels
		shape = slices.Delete(shape, 1, 2)
	}
	if len(shape) != 3 || slices.Contains(shape, 0) {
		return fmt.Errorf("%s: have shape %v, want [images, height, width]", s.maps.Path, s.maps.Shape)
	}
	masks := slices.Clone(s.masks.Shape)
	if len(masks) == 4 && masks[1] == 1 {
		masks = slices.Delete(masks, 1, 2)
	}
	if !slices.Equal(masks, shape) {
		return fmt.Errorf("%s: have shape %v, want %v as %s", s.masks.Path, s.masks.Shape, s.maps.Shape, s.maps.Path)
	}
	s.height, s.width = shape[1], shape[2]
	s.rows = make([]row, shape[0])
	return nil
}

// table reads the table if there is one, and fills in what is missing.
func (s *source) table(path string) error {
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err == nil {
		if err := s.lines(path, data); err != nil {
			return err
		}
	}
	for i := range s.rows {
		r := &s.rows[i]
		if r.Path == "" {
			r.Path = fmt.Sprintf("%s row %d", s.maps.Path, i)
		}
		if r.Object == "" {
			r.Object = r.Path // by itself
		}
		r.Camera = max(1, r.Camera)
	}
	return nil
}

func (s *source) lines(path string, data []byte) error {
	n := 0
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for ; scanner.Scan(); n++ {
		if n >= len(s.rows) {
			return fmt.Errorf("%s: have more than %d lines, want one a image", path, len(s.rows))
		}
		r := &s.rows[n]
		if err := json.Unmarshal(scanner.Bytes(), r); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n+1, err)
		}
		if r.Label != nil && *r.Label != 0 && *r.Label != 1 {
			return fmt.Errorf("%s:%d: label: have %d, want 0 or 1", path, n+1, *r.Label)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", path, n+1, err)
	}
	if n != len(s.rows) {
		return fmt.Errorf("%s: have %d lines, want %d, one a image", path, n, len(s.rows))
	}
	return nil
}

// object is the rows of one object.
type object struct {
	id   string
	rows []int
}

// objects groups the rows, in the order of the first of each.
func (s *source) objects() []object {
	var out []object
	place := map[string]int{}
	for i, r := range s.rows {
		n, ok := place[r.Object]
		if !ok {
			n = len(out)
			place[r.Object] = n
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
	for _, phase := range []bool{true, false} {
		var places []int
		for n, o := range objects {
			if slices.ContainsFunc(o.rows, func(i int) bool { return marked[i] }) == phase {
				places = append(places, n)
			}
		}
		err := Each(ctx, len(places), func(i int) error {
			o := objects[places[i]]
			if err := s.add(class, places[i], o, marked); err != nil {
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
func (s *source) add(class *Class, place int, o object, marked []bool) error {
	var views []View
	for _, i := range o.rows {
		scores, err := s.maps.Read(i, nil)
		if err != nil {
			return err
		}
		r := s.rows[i]
		v := View{
			Camera: r.Camera, Path: r.Path, Code: r.Code, Defective: marked[i],
			Height: s.height, Width: s.width, Scores: scores, Given: (*float64)(r.Score),
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
	_, err := class.Add(place, o.id, views)
	return err
}

// mask reads one mask: what is not zero is defective.
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

// Each calls work for 0..n-1 on all CPUs, until the first error.
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
