package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
)

// MinEnroll is the least number of good objects that a class is enrolled with.
const MinEnroll = 10

// folds is the number of parts of the good objects of a class, each judged with a memory of the others.
const folds = 5

// Enrollment is a class to be added to a checkpoint.
type Enrollment struct {
	Class   string
	Replace bool // an earlier class of that name
	Good    []dataset.Object
	Source  dataset.Source
	From    string // where the objects come from, in words
	// Remembered and Judged are told the number of images done; both are called from one goroutine.
	Remembered, Judged func(images int)
}

// Enroll remembers a class in the checkpoint and calibrates it: each fifth of the objects is judged with a memory of the
// others. It returns the calibration of the class. All other classes stay as they are.
func (u *Setup) Enroll(ctx context.Context, n Enrollment) (*calibration.Calibration, error) {
	if err := u.MayEnroll(n.Class, n.Replace); err != nil {
		return nil, err
	}
	if len(n.Good) < MinEnroll {
		return nil, fmt.Errorf("class %q: have %d good objects, want at least %d: fewer cannot tell what is normal", n.Class, len(n.Good), MinEnroll)
	}
	n.Source.Read = &dataset.ReadImages{}
	n.Source.Skipped.Expect("images", n.Good)
	e, err := newEngine(u, n.Source)
	if err != nil {
		return nil, err
	}
	defer e.close()
	fit, err := e.sample(ctx, n)
	if err != nil {
		return nil, err
	}
	c := collected{top: u.Config.Top(), levels: map[string]calibration.Levels{}}
	_, trained := u.Trained.TrainLists[n.Class]
	alone := u.Memory.Alone(n.Class) || !trained || u.Memory.Untrained()
	if err := e.crossFit(ctx, n, alone, fit, &c); err != nil {
		return nil, err
	}
	class, err := fit(nil)
	if err != nil {
		return nil, err
	}
	class.Alone = alone
	enlarged := &memory.Memory{Classes: map[string]*memory.Class{}}
	if u.Memory != nil {
		enlarged.Only = u.Memory.Only
		maps.Copy(enlarged.Classes, u.Memory.Classes)
	}
	enlarged.Classes[n.Class] = class
	rate := u.Config.Eval.FalseAlarm
	before, of := u.Heads, func(head string) []calibration.Sample { return calibration.List(c.objects, head) }
	heads, own, err := before.WithClass(n.Class, of(calibration.Memory), of(calibration.Both), c.levels[n.Class], rate, n.From)
	if err != nil {
		return nil, err
	}
	group := calibration.Group{Source: n.From, FalseAlarm: rate, Folds: folds, Objects: c.objects}
	samples, settled := u.known(before).Enrolled(n.Class, group, before)
	if settled {
		u.log(fmt.Sprintf("earlier additions to the calibration count on, and cannot be undone; those to %q are gone", n.Class))
	}
	now := *u
	now.Memory, now.Heads, now.Samples = enlarged, heads, samples
	if err := now.store(n.Source.Read); err != nil {
		return nil, err
	}
	*u = now
	return own, nil
}

// MayEnroll returns why a class cannot be enrolled, whatever its objects.
func (u *Setup) MayEnroll(class string, replace bool) error {
	_, trained := u.Trained.TrainLists[class]
	known := u.Memory.Of(class) != nil
	if err := dataset.CheckClass(class); err != nil {
		return err
	}
	switch {
	case !replace && known:
		return fmt.Errorf("%s: remembers a class %q already, want --replace to forget it", u.Path, class)
	case !replace && trained:
		return fmt.Errorf("%s: was trained on a class %q, want --replace to remember other parts of it", u.Path, class)
	case replace && !known && !trained:
		return fmt.Errorf("%s: have no class %q to replace", u.Path, class)
	case u.Config.Memory.Codes == 0:
		return fmt.Errorf("%s: memory.codes: have 0, want at least 1 to enroll", u.Path)
	}
	return nil
}

// sample reads the objects and returns what fits a memory to them, without those of the given IDs.
func (e *engine) sample(ctx context.Context, n Enrollment) (fit func(without map[string]bool) (*memory.Class, error), err error) {
	loader, err := dataset.NewEvalLoader(ctx, n.Good, dataset.LoaderOptions{
		Source: e.source, Objects: 1, Workers: e.cfg.Data.Workers, Prefetch: e.cfg.Data.Prefetch,
	})
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	tiles, pixels := dataset.Tiled(n.Good, e.source.Fit), []uint8(nil)
	samples, images := e.model.NewSamples(tiles), 0
	n.Remembered(images)
	for {
		batch, err := loader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		for t := range batch.Tiles {
			pixels = batch.TilePixels(t, pixels)
			if err := e.add(samples, &tiles[batch.Index*batch.Tiles+t], batch.Present, pixels); err != nil {
				return nil, err
			}
		}
		for _, present := range batch.Present {
			if present {
				images++
			}
		}
		loader.Recycle(batch)
		n.Remembered(images)
	}
	size := memory.Size{Dims: e.cfg.Memory.Dims, Codes: e.cfg.Memory.Codes}
	return func(without map[string]bool) (*memory.Class, error) {
		return memory.Fit(model.Algebra{Model: e.model}, samples, n.Class, size, without)
	}, nil
}

// add encodes the pixels of an object, or of a tile of it, and adds them to samples.
func (e *engine) add(samples *memory.Samples, o *dataset.Object, present []bool, pixels []uint8) error {
	var packed []byte
	err := tensor.Run(func(s *tensor.Scope) error {
		packed = e.model.PackImages(s, pixels, len(present))
		return nil
	})
	if err == nil && !memory.Finite(packed) {
		err = fmt.Errorf("%s: have features that do not fit float16", o.ID)
	}
	if err == nil {
		_, err = samples.Add(o, present, packed)
	}
	return err
}

// crossFit judges each fold of the objects with a memory of the others.
func (e *engine) crossFit(ctx context.Context, n Enrollment, alone bool, fit func(map[string]bool) (*memory.Class, error), c *collected) error {
	e.heads, e.wanted = calibration.Heads{}, calibration.Both
	images := 0
	n.Judged(images)
	for f := range folds {
		var fold []dataset.Object
		without := map[string]bool{}
		for i, o := range n.Good {
			if i%folds == f {
				fold, without[o.ID] = append(fold, o), true
			}
		}
		others, err := fit(without)
		if err != nil {
			return err
		}
		others.Alone = alone
		err = tensor.Run(func(*tensor.Scope) error {
			e.remember(&memory.Memory{Classes: map[string]*memory.Class{n.Class: others}})
			return nil
		})
		if err != nil {
			return err
		}
		work := func(it *item) (sample, error) { return sampleOf(it, e.source, e.cfg.Top()) }
		err = stream(ctx, e, fold, work, func(s sample) error {
			c.add(s)
			images += s.images
			n.Judged(images)
			return s.unjudged
		})
		if err != nil {
			return err
		}
	}
	c.finishClass()
	return nil
}

// store rewrites the checkpoint with its memory and calibrations; what was read counts as trained on.
func (u *Setup) store(read *dataset.ReadImages) error {
	meta, err := u.decides()
	if err != nil {
		return err
	}
	if meta[checkpoint.MemoryKey], err = u.Memory.Marshal(); err != nil {
		return err
	}
	if u.Trained.TrainImages != nil {
		images, err := read.Hashes(u.Trained.TrainImages).MarshalText()
		if err != nil {
			return err
		}
		meta["train.images"] = string(images)
	}
	return u.rewrite(meta, checkpoint.Memory, u.Memory.Tensors())
}
