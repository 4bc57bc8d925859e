// Package demo renders a small multi-view anomaly-detection set in the layout of Real-IAD, so that the program can be
// tried without any download.
//
// Parts are signed-distance solids, drawn by sphere tracing (J. C. Hart, 1996) in a studio of soft boxes: soft shadows,
// ambient occlusion, reflections blurred and smeared by roughness and brush marks. Five cameras look at each object, C1
// from above and C2 to C5 from four sides. No two objects are alike in pose, tint, finish, light and exposure. Defects
// are changes of the solid or of its surface, so that the views agree, and masks come from comparing the first hits of
// the sound and the defective part.
package demo

import (
	"bytes"
	"context"
	"fmt"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Options say what to render.
type Options struct {
	// Out is the folder to fill; it is made if it does not exist.
	Out string
	// Size is the side of the images in pixels; 0 means 288.
	Size int
	// Train and Good are sound objects of each class, for training and for the test; Bad are defective ones, spread
	// over the kinds of defect.
	Train, Good, Bad int
	// Seed decides everything drawn.
	Seed int64
	// Workers is the number of objects rendered at once; 0 means one a CPU. The result does not depend on it.
	Workers int
}

// Quality is that of the JPEG images.
const Quality = 92

func (opt *Options) validate() error {
	if opt.Size == 0 {
		opt.Size = 288
	}
	if opt.Workers == 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
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
	return nil
}

// Render fills opt.Out with images, masks and index files. The files are the same, byte for byte, for the same
// options, whatever Workers is. Progress, which may be nil, is told after each object how many images are done; its
// calls do not overlap.
//
// Index files come last, and the manifest demo.json after them: a folder without it is incomplete. A folder that
// already holds the set of the same options is left as it is, and Summary.Reused is set; any other folder that is not
// empty is an error. A cancelled context ends the rendering within a row of pixels and leaves the images made so far,
// without index files.
func Render(ctx context.Context, opt Options, progress func(done, total int)) (Summary, error) {
	sum, err := renderAll(ctx, opt, progress)
	if err != nil {
		err = fmt.Errorf("demo: %w", err)
	}
	return sum, err
}

func renderAll(ctx context.Context, opt Options, progress func(done, total int)) (Summary, error) {
	if err := opt.validate(); err != nil {
		return Summary{}, err
	}
	if sum, ok, err := existing(opt); ok || err != nil {
		return sum, err
	}
	jobs := plan(opt)
	entries := make([][]entry, len(jobs))
	canvases := sync.Pool{New: func() any { return newCanvas(opt.Size) }}
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
	o, err := drawObject(source(opt.Seed, j.class.name+"/"+j.folder()), j.class, j.code, opt.Size)
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
