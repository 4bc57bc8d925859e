// Package demo renders a small multi-view anomaly detection data set in the layout of Real-IAD, so that the program can
// be tried without a download.
//
// Parts are signed-distance solids, rendered by sphere tracing (J. C. Hart, 1996) in a studio with soft boxes: soft
// shadows, ambient occlusion, and reflections blurred and smeared by roughness and brush marks. Five cameras look at
// each object, C1 from above and C2 to C5 from four sides. Objects differ in pose, tint, finish, light and exposure.
// Defects change the solid or its surface, so the views agree. Masks come from comparing the first hits of the sound
// and the defective part.
package demo

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Options configure Render.
type Options struct {
	// Out is the folder to fill; it is created if necessary.
	Out string
	// Classes are the names of the classes to render; none means the usual ones (Classes).
	Classes []string
	// Size is the side length of the images in pixels, except for classes that have a size of their own; 0 means 288.
	Size int
	// Train and Good are the numbers of sound objects of each class for training and testing. Bad is the number of
	// defective ones, spread over the kinds of defect.
	Train, Good, Bad int
	// Seed determines everything that is random.
	Seed int64
	// Workers is the number of objects rendered in parallel; 0 means one per CPU. It does not affect the result.
	Workers int
}

// Quality is the JPEG quality of the images.
const Quality = 92

// Validate returns an error unless the options are in their ranges.
func (opt Options) Validate() error {
	opt = opt.complete()
	for _, v := range []struct {
		name         string
		have, lo, hi int
	}{
		{"size", opt.Size, 64, 2048},
		{"train", opt.Train, 1, 5000},
		{"good", opt.Good, 0, 4999}, // together they fit the four digits of S0001
		{"bad", opt.Bad, 0, 9999},
		{"workers", opt.Workers, 1, 1024},
	} {
		if v.have < v.lo || v.have > v.hi {
			return fmt.Errorf("%s: have %d, want %d to %d", v.name, v.have, v.lo, v.hi)
		}
	}
	all, _ := Classes()
	for i, name := range opt.Classes {
		if !slices.Contains(all, name) {
			return fmt.Errorf("classes: have %q, want any of %s", name, strings.Join(all, ", "))
		}
		if slices.Contains(opt.Classes[:i], name) {
			return fmt.Errorf("classes: have %q twice", name)
		}
	}
	return nil
}

// classes returns what is to be rendered, in the order of the variable classes.
func (opt Options) classes() []*class {
	names := opt.complete().Classes
	var chosen []*class
	for i := range classes {
		if slices.Contains(names, classes[i].name) {
			chosen = append(chosen, &classes[i])
		}
	}
	return chosen
}

// complete returns the options with the defaults entered.
func (opt Options) complete() Options {
	if len(opt.Classes) == 0 {
		_, opt.Classes = Classes()
	}
	if opt.Size == 0 {
		opt.Size = 288
	}
	if opt.Workers == 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	return opt
}

// Render fills opt.Out with images, masks and index files. For the same options the files are the same byte for byte,
// whatever Workers is. progress, which may be nil, is called after each object with the number of finished images,
// never concurrently.
//
// Index files are written last, followed by the manifest demo.json: a folder without it is incomplete. A folder that
// already contains the set of the same options is kept, and Summary.Reused is set; one of them that was interrupted is
// rendered again. Any other folder that is not empty is an error. Cancelling the context stops rendering within a row of
// pixels and leaves the finished images, without index files.
func Render(ctx context.Context, opt Options, progress func(done, total int)) (Summary, error) {
	sum, err := renderAll(ctx, opt, progress)
	if err != nil {
		err = fmt.Errorf("demo: %w", err)
	}
	return sum, err
}

func renderAll(ctx context.Context, opt Options, progress func(done, total int)) (Summary, error) {
	if err := opt.Validate(); err != nil {
		return Summary{}, err
	}
	opt = opt.complete()
	if sum, ok, err := existing(opt); ok || err != nil {
		return sum, err
	}
	if err := begin(opt); err != nil {
		return Summary{}, err
	}
	jobs := plan(opt)
	entries := make([][]entry, len(jobs))
	canvases := sync.Pool{New: func() any { return new(canvas) }}
	var mu sync.Mutex
	done := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(opt.Workers)
	for i := range jobs {
		g.Go(func() (err error) {
			v := canvases.Get().(*canvas)
			defer canvases.Put(v)
			if entries[i], err = renderObject(ctx, opt, &jobs[i], v); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done += views
			if progress != nil {
				progress(done, views*len(jobs))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return Summary{}, err
	}
	return finish(opt, jobs, entries)
}

// renderObject writes the five images of an object and its masks.
func renderObject(ctx context.Context, opt Options, j *job, v *canvas) ([]entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root := filepath.Join(opt.Out, ImageFolder, j.class.name)
	if err := os.MkdirAll(filepath.Join(root, j.folder()), 0o755); err != nil {
		return nil, err
	}
	size := j.class.size
	if size == (image.Point{}) {
		size = image.Pt(opt.Size, opt.Size)
	}
	v.resize(size)
	o, err := drawObject(source(opt.Seed, j.class.name+"/"+j.folder()), j.class, j.code, j.serno, size)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", j.folder(), err)
	}
	var buf bytes.Buffer
	write := func(view int, ext string, err error) error {
		if err != nil {
			return fmt.Errorf("%q: %w", j.file(view, ext), err)
		}
		return os.WriteFile(filepath.Join(root, j.file(view, ext)), buf.Bytes(), 0o644)
	}
	entries := make([]entry, views)
	for view := range views {
		im, err := o.image(ctx, v, view)
		if err != nil {
			return nil, err
		}
		buf.Reset()
		if err := write(view, ".jpg", jpeg.Encode(&buf, im, &jpeg.Options{Quality: Quality})); err != nil {
			return nil, err
		}
		mask := o.masks[view]
		entries[view] = j.entry(view, mask != nil)
		if mask == nil {
			continue
		}
		buf.Reset()
		if err := write(view, ".png", png.Encode(&buf, mask)); err != nil {
			return nil, err
		}
	}
	return entries, nil
}
