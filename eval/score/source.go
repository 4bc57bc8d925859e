package score

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"mvag-torch/dataset"
	"mvag-torch/eval/metric"
	"mvag-torch/internal/npy"
)

// source is the files of one class.
type source struct {
	name          string
	maps, masks   *npy.File
	height, width int
	rows          []row
	facts         []facts  // of each image
	unread        []string // members of the table
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
	} else if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%s: have no such file, want the masks of %s", prefix+MasksSuffix, s.maps.Path)
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
	s.rows, s.facts = make([]row, shape[0]), make([]facts, shape[0])
	return nil
}

// withoutChannel drops the second of four axes, else the last, if its length is 1.
func withoutChannel(shape []int) []int {
	for _, axis := range []int{1, 3} {
		if len(shape) == 4 && shape[axis] == 1 {
			return slices.Delete(slices.Clone(shape), axis, axis+1)
		}
	}
	return shape
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

// survey is what the first pass over the files of a class finds: which masks have pixels, and of maps of a wide type
// their range and the values in the masks, to tell apart what float32 cannot.
type survey struct {
	mu        sync.Mutex
	marked    []bool
	low, high float64
	rounded   bool // float32 does not hold every value
	positives []float64
}

// evaluate reads the masks of all images, then scores the objects with defective pixels, then the others.
func (s *source) evaluate(ctx context.Context, opt Options, progress func(done int)) (Result, error) {
	seen := survey{marked: make([]bool, len(s.rows)), low: math.Inf(1), high: math.Inf(-1)}
	if err := Each(ctx, len(s.rows), func(i int) error { return s.look(i, &seen) }); err != nil {
		return Result{}, err
	}
	class := NewClass(s.name, opt)
	if seen.rounded {
		class.pixels.Scale = metric.NewScale(seen.low, seen.high, seen.positives)
	}
	objects := s.objects()
	var mu sync.Mutex
	done := 0
	for _, defective := range []bool{true, false} {
		var of []int // indices of objects
		for n, o := range objects {
			if slices.ContainsFunc(o.rows, func(i int) bool { return seen.marked[i] }) == defective {
				of = append(of, n)
			}
		}
		err := Each(ctx, len(of), func(i int) error {
			o := objects[of[i]]
			if err := s.add(class, of[i], o, seen.marked); err != nil {
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

// look reads the mask of image i, and its map where that is of a wide type.
func (s *source) look(i int, seen *survey) error {
	mask, odd, err := s.mask(i)
	if err != nil {
		return err
	}
	r := s.rows[i]
	marked := slices.Contains(mask, true)
	seen.marked[i] = marked
	if marked && r.Unmasked {
		return fmt.Errorf("image %q: have a mask with defective pixels, want none as the image is unmasked", r.Path)
	}
	s.notice(i, oddMask, odd)
	s.notice(i, noMask, r.Unmasked)
	s.notice(i, allMarked, !slices.Contains(mask, false))
	s.notice(i, goodMarked, marked && r.Label != nil && !*r.Label)
	s.notice(i, badEmpty, !marked && !r.Unmasked && r.Label != nil && *r.Label)
	if !s.maps.DType.Wide() {
		return nil
	}
	values, err := s.maps.ReadExact(i, nil)
	if err != nil {
		return err
	}
	return seen.add(s, i, values, mask)
}

// add takes the map of an image.
func (seen *survey) add(s *source, i int, values []float64, mask []bool) error {
	low, high, rounded := math.Inf(1), math.Inf(-1), false
	var positives []float64
	for j, v := range values {
		low, high = min(low, v), max(high, v)
		rounded = rounded || float64(float32(v)) != v && v == v // NaN is for metric to name
		if mask[j] {
			positives = append(positives, v)
		}
	}
	const most = 1 << 53
	if d := s.maps.DType; (d == npy.Int64 || d == npy.Uint64) && max(-low, high) >= most {
		return fmt.Errorf("%s: row %d: have integers from 2^53 up, which float64 cannot tell apart", s.maps.Path, i)
	}
	slices.Sort(positives)
	positives = slices.Compact(positives)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	seen.low, seen.high = min(seen.low, low), max(seen.high, high)
	seen.rounded = seen.rounded || rounded
	seen.positives = append(seen.positives, positives...)
	return nil
}

// add scores one object.
func (s *source) add(class *Class, index int, o object, marked []bool) error {
	var views []View
	for _, i := range o.rows {
		r := s.rows[i]
		v := View{
			Camera: r.Camera, Path: r.Path, Code: r.Code, Defective: marked[i] || r.Unmasked,
			Height: s.height, Width: s.width, Score: r.Score, Unmasked: r.Unmasked,
		}
		var err error
		if class.pixels.Scale != nil {
			v.Exact, err = s.maps.ReadExact(i, nil)
		} else {
			v.Scores, err = s.maps.Read(i, nil)
		}
		if err != nil {
			return err
		}
		if r.Label != nil {
			v.Defective = *r.Label
		}
		if marked[i] {
			if v.Mask, _, err = s.mask(i); err != nil {
				return err
			}
		}
		s.notice(i, infinite, isInfinite(v.Scores) || isInfinite(v.Exact))
		s.notice(i, infScore, r.Score != nil && math.IsInf(*r.Score, 0))
		s.notice(i, likeMask, marked[i] && (like(v.Scores, v.Mask) || like(v.Exact, v.Mask)))
		views = append(views, v)
	}
	_, err := class.Add(index, o.id, views)
	return err
}

func isInfinite[T float32 | float64](scores []T) bool {
	return slices.ContainsFunc(scores, func(v T) bool { return math.IsInf(float64(v), 0) })
}

// like reports whether scores are zero outside of the mask and nowhere in it.
func like[T float32 | float64](scores []T, mask []bool) bool {
	for i, v := range scores {
		if (v != 0) != mask[i] {
			return false
		}
	}
	return len(scores) > 0
}

// mask reads one mask: every value but zero is a defect. Odd are values below 0 and between 0 and 1, and more values than labels have.
func (s *source) mask(i int) (mask []bool, odd bool, err error) {
	values, err := s.masks.ReadExact(i, nil)
	if err != nil {
		return nil, false, err
	}
	mask = make([]bool, len(values))
	var labels []float64
	for j, v := range values {
		if v != v {
			return nil, false, fmt.Errorf("%s: row %d: have NaN, want a mask", s.masks.Path, i)
		}
		mask[j] = v != 0
		odd = odd || v < 1 && v != 0
		if v != 0 && !odd && !slices.Contains(labels, v) {
			labels = append(labels, v)
			odd = len(labels) > dataset.MaxLevels
		}
	}
	return mask, odd, nil
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
