package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/internal/lock"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// ErrChanged is the error of a change to a checkpoint whose file was replaced after it was read.
var ErrChanged = errors.New("was changed after it was read, want it read again")

// MayAdd returns why no good objects can be added to the calibration, or taken back.
func (u *Setup) MayAdd() error {
	if u.Samples == nil {
		return fmt.Errorf("%s: does not have the scores that its thresholds rest on, as files of earlier versions; "+
			"want it calibrated anew first: mvag-torch calibrate -m %s", u.Path, u.Path)
	}
	if err := u.Samples.Check(u.Heads); err != nil {
		return fmt.Errorf("%s: %w: mvag-torch calibrate -m %s", u.Path, err, u.Path)
	}
	return nil
}

// AddGood adds good objects that the model has judged to the calibration, fits it again and rewrites the checkpoint; the
// model is not loaded. source says in words where the objects come from. An object whose key is known is
// [calibration.ErrKnown], and then nothing changes.
func (u *Setup) AddGood(good []calibration.Good, source string) (calibration.Addition, error) {
	var none calibration.Addition
	if err := u.MayAdd(); err != nil {
		return none, err
	}
	for _, o := range good {
		head, err := u.Heads.Head(u.Config.Inspect.Head, o.Class, u.Memory)
		if err == nil && (len(o.Scores[head]) == 0 || !u.Samples.Has(head, o.Class)) {
			err = fmt.Errorf("class %q: is judged by %s, by which the scores of the object or of those calibrated with are not stored", o.Class, head)
		}
		if err != nil {
			return none, fmt.Errorf("%s: %w", u.Path, err)
		}
	}
	samples, heads, err := u.Samples.Add(u.Heads, good, source, time.Now())
	if err != nil {
		return none, fmt.Errorf("%s: %w", u.Path, err)
	}
	if err := u.recalibrate(samples, heads); err != nil {
		return none, err
	}
	return samples.Additions[len(samples.Additions)-1], nil
}

// Undo takes the last addition back, which it returns, and rewrites the checkpoint: thresholds are those of before.
// Without an addition the error is [calibration.ErrNoHistory].
func (u *Setup) Undo() (calibration.Addition, error) {
	var none calibration.Addition
	if err := u.MayAdd(); err != nil {
		return none, err
	}
	samples, heads, undone, err := u.Samples.Undo(u.Heads)
	if err != nil {
		return none, fmt.Errorf("%s: %w", u.Path, err)
	}
	return undone, u.recalibrate(samples, heads)
}

// recalibrate rewrites the checkpoint with other calibrations; an error leaves u as it is.
func (u *Setup) recalibrate(samples *calibration.Samples, heads calibration.Heads) error {
	now := *u
	now.Samples, now.Heads = samples, heads
	now.Calibration = now.chosen()
	meta, err := now.decides()
	if err != nil {
		return err
	}
	if meta[checkpoint.SamplesKey] == "" {
		return fmt.Errorf("%s: %w", u.Path, calibration.ErrTooMany)
	}
	if err := now.rewrite(meta, "", nil); err != nil {
		return err
	}
	*u = now
	return nil
}

// known are the samples of u if heads rest on them, else nil.
func (u *Setup) known(heads calibration.Heads) *calibration.Samples {
	if u.Samples == nil || u.Samples.Check(heads) != nil {
		return nil
	}
	return u.Samples
}

// decides is the metadata of what turns scores into decisions. Samples that are too many are left out, which is said.
func (u *Setup) decides() (map[string]string, error) {
	meta, err := u.Heads.Marshal()
	if err != nil {
		return nil, err
	}
	meta[checkpoint.SamplesKey], err = u.Samples.Marshal()
	if errors.Is(err, calibration.ErrTooMany) {
		u.log(fmt.Sprintf("%s: %v: none can be added later", u.Path, err))
		err = nil
	}
	return meta, err
}

// MayRewrite returns why the checkpoint cannot be changed now: another process has it, which the error names, or has
// changed it after it was read.
func (u *Setup) MayRewrite() error {
	own, err := u.own()
	own.Release()
	return err
}

// own keeps other processes from changing the checkpoint, which is still the one that was read.
func (u *Setup) own() (own *lock.Lock, err error) {
	if !u.owned {
		if own, err = checkpoint.Own(u.Path); err != nil {
			return nil, err
		}
	}
	now, err := os.Stat(u.Path)
	if err == nil && !os.SameFile(u.found, now) {
		err = fmt.Errorf("%s: %w", u.Path, ErrChanged)
	}
	return own, err
}

// rewrite is [checkpoint.File.Rewrite] of a file that is still the one that was read, and that nobody else changes.
func (u *Setup) rewrite(meta map[string]string, replaced string, tensors []safetensors.Tensor) error {
	own, err := u.own()
	defer own.Release()
	if err != nil {
		return err
	}
	if warning := own.Warning(); warning != "" {
		u.log(warning)
	}
	return u.file.Rewrite(meta, replaced, tensors)
}

// Add judges good objects, whose images come from source, and adds them as [Setup.AddGood] does, except for those that
// are in the calibration already, which it returns. An image that cannot be read is an error, or left out, as source has
// it. progress is told the number of images done, from one goroutine.
func (u *Setup) Add(
	ctx context.Context, good []dataset.Object, source dataset.Source, from string, progress func(images int),
) (added calibration.Addition, known []dataset.Object, err error) {
	if err := u.MayAdd(); err != nil {
		return added, nil, err
	}
	source.Skipped.Expect("images", good)
	source.Read = &dataset.ReadImages{}
	e, err := newEngine(u, source)
	if err != nil {
		return added, nil, err
	}
	defer e.close()
	g := newJudge(u)
	var fresh []calibration.Good
	work := func(it *item) (*Result, error) {
		for j, v := range it.views {
			if v.err != nil {
				if err := source.Skip(it.object.Views[j], v.err); err != nil {
					return nil, err
				}
			}
		}
		return g.result(it), it.unjudged
	}
	images := 0
	progress(images)
	err = stream(ctx, e, good, work, func(r *Result) error {
		key := source.Read.Content(r.Object)
		switch samples := r.Samples(); {
		case u.Samples.Known(key, r.Object.Class):
			known = append(known, *r.Object)
		case len(samples) > 0:
			fresh = append(fresh, calibration.NewGood(key, r.Object.Class, samples))
		}
		images += r.item.present()
		progress(images)
		return nil
	})
	if err == nil && len(fresh) == 0 {
		return added, known, nil
	}
	if err == nil {
		added, err = u.AddGood(fresh, from)
	}
	return added, known, err
}
