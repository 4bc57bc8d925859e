package inspect

import (
	"context"
	"math"

	"mvag-torch/dataset"
	"mvag-torch/model/calibration"
)

// Calibrate scores good objects, whose images come from source, derives thresholds at eval.false_alarm from them, and
// stores these in the checkpoint. An image that cannot be read is an error, or left out, as source has it. from says in
// words where the objects come from; progress, which is told the number of images done, is called from one goroutine.
func (u *Setup) Calibrate(
	ctx context.Context, good []dataset.Object, source dataset.Source, from string, progress func(images int),
) error {
	source.Skipped.Expect("images", good)
	e, err := newEngine(u, source)
	if err != nil {
		return err
	}
	defer e.close()
	var samples []calibration.Sample
	images := 0
	progress(images)
	sample := func(it *item) (calibration.Sample, error) { return sampleOf(it, source) }
	err = stream(ctx, e, good, sample, func(s calibration.Sample) error {
		if len(s.Images) > 0 {
			samples = append(samples, s)
		}
		images += len(s.Images)
		progress(images)
		return nil
	})
	if err != nil {
		return err
	}
	if u.Calibration, err = calibration.Fit(samples, u.Config.Eval.FalseAlarm, from); err != nil {
		return err
	}
	text, err := u.Calibration.Marshal()
	if err != nil {
		return err
	}
	return u.file.SetCalibration(text)
}

// sampleOf gathers the scores of a good object; without images, it is left out.
func sampleOf(it *item, source dataset.Source) (calibration.Sample, error) {
	s := calibration.Sample{Class: it.object.Class, Object: it.score(), Pixel: math.Inf(-1)}
	for j, v := range it.views {
		if v.err != nil {
			if err := source.Skip(it.object.Views[j], v.err); err != nil {
				return s, err
			}
		}
		if v.values == nil {
			continue
		}
		s.Images = append(s.Images, v.score)
		for _, score := range v.values {
			s.Pixel = max(s.Pixel, float64(score))
		}
	}
	return s, nil
}
