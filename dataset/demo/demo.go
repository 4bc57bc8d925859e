// Package demo renders a small multi-view anomaly-detection set in the layout
// of Real-IAD, so that the program can be tried without any download.
//
// Parts are signed-distance solids, drawn by sphere tracing (J. C. Hart, 1996)
// in a studio of soft boxes: soft shadows, ambient occlusion, reflections
// blurred and smeared by roughness and brush marks. Five cameras look at each
// object, C1 from above and C2 to C5 from four sides. No two objects are alike
// in pose, tint, finish, light and exposure. Defects are changes of the solid
// or of its surface, so that the views agree, and masks come from comparing
// the first hits of the sound and the defective part.
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
)

// Options say what to render.
type Options struct {
	// Out is the folder to fill; it is made if it does not exist.
	Out string
	// Size is the side of the pictures in pixels; 0 means 288.
	Size int
	// Train and Good are sound objects of each class, for training and for
	// the test; Bad are defective ones, spread over the kinds of defect.
	Train, Good, Bad int
	// Seed decides everything drawn.
	Seed int64
	// Workers is the number of objects rendered at once; 0 means one a CPU.
	// The result does not depend on it.
	Workers int
}

// Quality is that of the JPEG pictures.
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
			return fmt.Errorf("demo: %s: have %d, want %d to %d", v.name, v.have, v.lo, v.hi)
		}
	}
	return nil
}

// Render fills opt.Out with pictures, masks and index files. The files are the
// same, byte for byte, for the same options, whatever Workers is. Progress,
// which may be nil, is told after each object how many pictures are done; its
// calls do not overlap.
//
// Index files come last, and the manifest demo.json after them: a folder
// without it is incomplete. A folder that already holds the set of the same
// options is left as it is, and Summary.Reused is set; any other folder that is
// not empty is an error. A cancelled context ends the rendering within a row of
// pixels and leaves the pictures made so far, without index files.
func Render(ctx context.Context, opt Options, progress func(done, total int)) (Summary, error) {
	if err := opt.validate(); err != nil {
		return Summary{}, err
	}
	if sum, ok, err := existing(opt); ok || err != nil {
		return sum, err
	}
	jobs := plan(opt)
	entries := make([][]entry, len(jobs))
	var mu sync.Mutex
	done := 0
	err := parallel(ctx, opt.Workers, len(jobs), func(ctx context.Context, i int, v *canvas) error {
		var err error
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
	}, opt.Size)
	if err != nil {
		return Summary{}, err
	}
	return finish(opt, jobs, entries)
}

// parallel calls do for 0..n-1 from several goroutines, each with a canvas of
// its own, until all are done, one fails or ctx ends.
func parallel(ctx context.Context, workers, n int, do func(context.Context, int, *canvas) error, size int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var group sync.WaitGroup
	for range min(workers, n) {
		group.Go(func() {
			v := newCanvas(size)
			for i := range next {
				if err := do(ctx, i, v); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}

// renderObject writes the five pictures of an object and its masks.
func renderObject(ctx context.Context, opt Options, j *job, v *canvas) ([]entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root := filepath.Join(opt.Out, ImageFolder, j.class.name)
	folder := filepath.Join(root, j.folder())
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	rng := source(opt.Seed, j.class.name+"/"+j.folder())
	o, err := drawObject(rng, j.class, j.code, opt.Size)
	if err != nil {
		return nil, fmt.Errorf("demo: %q: %w", folder, err)
	}
	entries := make([]entry, views)
	for view := range views {
		im, err := o.picture(ctx, v, view)
		if err != nil {
			return nil, err
		}
		var buf bytes.Buffer
		if err := jpeg.Encode(&buf, im, &jpeg.Options{Quality: Quality}); err != nil {
			return nil, fmt.Errorf("demo: %q: %w", j.file(view, ".jpg"), err)
		}
		if err := os.WriteFile(filepath.Join(root, j.file(view, ".jpg")), buf.Bytes(), 0o644); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
		mask := o.masks[view]
		entries[view] = j.entry(view, mask != nil)
		if mask == nil {
			continue
		}
		buf.Reset()
		if err := png.Encode(&buf, mask); err != nil {
			return nil, fmt.Errorf("demo: %q: %w", j.file(view, ".png"), err)
		}
		if err := os.WriteFile(filepath.Join(root, j.file(view, ".png")), buf.Bytes(), 0o644); err != nil {
			return nil, fmt.Errorf("demo: %w", err)
		}
	}
	return entries, nil
}
