package doctor

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"runtime"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/machine"
)

// backbone checks the file of weights: wholly with a probe, else that it can
// be read.
func backbone(cfg configs.Config, p *Probe) Check {
	path := cfg.Backbone.Weights
	remedy := "set backbone.weights to a file of " + cfg.Backbone.Name + "; mvag-torch backbone --help says how to get one"
	n, err := readable(path)
	switch {
	case err != nil:
		return Check{"backbone", Fail, oneLine(err), remedy}
	case p != nil && p.Backbone != "":
		return Check{"backbone", Fail, p.Backbone, remedy}
	}
	return Check{"backbone", OK, fmt.Sprintf("%s (%s), %s", path, machine.Size(n), cfg.Backbone.Name), ""}
}

// readable reads a file's first bytes and returns its size.
func readable(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(f, make([]byte, 4)); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return uint64(info.Size()), nil
}

// decoded is the number of pictures that data decodes, evenly spread.
const decoded = 100

// data opens the data set, looks for every picture and mask, and decodes some.
func data(ctx context.Context, cfg configs.Config) Check {
	const remedy = "correct the block data of the configuration, or fetch the files again"
	set, err := dataset.Open(cfg.Data)
	if err == nil {
		err = set.CheckTrain()
	}
	if err != nil {
		return Check{"data", Fail, oneLine(err), remedy}
	}
	var pictures []dataset.View
	var test int
	for i, part := range [][]dataset.Object{set.Train, set.Test} {
		for _, object := range part {
			for _, v := range object.Views {
				if v.Present() {
					pictures = append(pictures, v)
					test += i
				}
			}
		}
	}
	bad, first := unreadable(ctx, cfg, pictures)
	c := Check{"data", OK, fmt.Sprintf("%s: %d classes, %d pictures for training, %d to test",
		cfg.Data.Root, len(set.Classes), len(pictures)-test, test), ""}
	switch {
	case bad > 0:
		c.Status, c.Detail, c.Remedy = Fail, fmt.Sprintf("%d of %d pictures cannot be read; the first: %s", bad, len(pictures), oneLine(first)), remedy
	case len(set.Missing) > 0:
		c.Status, c.Remedy = Warn, fmt.Sprintf("the index lacks %d pictures, which are left out; the first: %s", len(set.Missing), set.Missing[0])
	}
	return c
}

// unreadable counts the pictures that cannot be read and returns the error of
// the first of them.
func unreadable(ctx context.Context, cfg configs.Config, pictures []dataset.View) (bad int, first error) {
	fit := dataset.NewFit(cfg.Data)
	every := max(1, len(pictures)/decoded)
	errs := make([]error, len(pictures))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			pixels := make([]uint8, 3*cfg.Data.Crop*cfg.Data.Crop)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(pictures) {
					return
				}
				v := pictures[i]
				if i%every > 0 {
					_, errs[i] = readable(v.Path)
					continue
				}
				if errs[i] = fit.Picture(v.Path, pixels); errs[i] == nil && v.Mask != "" {
					_, errs[i] = fit.Mask(v, cfg.Eval.MaskRule, cfg.Eval.MapSize)
				}
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			if bad++; first == nil {
				first = err
			}
		}
	}
	return bad, first
}
