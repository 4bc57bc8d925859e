package inspect

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"mvag-torch/dataset"
	"mvag-torch/model/calibration"
	"mvag-torch/model/imagescore"
)

// Calibrate scores good objects, whose images come from source, derives thresholds at eval.false_alarm from them for
// each head, and stores these in the checkpoint. An image that cannot be read is an error, or left out, as source has
// it. from says in words where the objects come from; progress, which is told the number of images done, is called from
// one goroutine.
func (u *Setup) Calibrate(
	ctx context.Context, good []dataset.Object, source dataset.Source, from string, progress func(images int),
) error {
	source.Skipped.Expect("images", good)
	source.Read = &dataset.ReadImages{}
	earlier := u.Heads
	u.Heads = calibration.Heads{} // nothing is judged by them
	e, err := newEngine(u, source)
	if err != nil {
		return err
	}
	defer e.close()
	e.wanted = calibration.Both
	good = slices.Clone(good) // the maps of one class at a time are kept
	slices.SortStableFunc(good, func(a, b dataset.Object) int { return strings.Compare(a.Class, b.Class) })
	c := collected{top: u.Config.Top(), trained: !u.Memory.Untrained(), levels: map[string]calibration.Levels{}}
	images := 0
	progress(images)
	work := func(it *item) (sample, error) { return sampleOf(it, source, u.Config.Top()) }
	err = stream(ctx, e, good, work, func(s sample) error {
		if s.unjudged != nil {
			return s.unjudged
		}
		c.add(s)
		images += s.images
		progress(images)
		return nil
	})
	if err != nil {
		return err
	}
	c.finishClass()
	heads, err := c.fit(u.Config.Eval.FalseAlarm, from)
	if err != nil {
		return err
	}
	u.Heads = heads.Keep(earlier, u.Memory)
	u.Samples = u.known(earlier).Calibrated(c.objects, heads, earlier, u.Memory)
	u.Calibration = u.chosen()
	meta, err := u.decides()
	if err != nil {
		return err
	}
	return u.rewrite(meta, "", nil)
}

// sample is what calibration needs of a good object.
type sample struct {
	key      string // of its files
	class    string
	images   int
	scores   map[string]calibration.Sample // by head
	views    []view                        // with maps of both heads, if it has both
	unjudged error
}

// sampleOf gathers the scores of a good object; without images, it has none.
func sampleOf(it *item, source dataset.Source, top float64) (sample, error) {
	s := sample{key: source.Read.Content(it.object), class: it.object.Class, scores: map[string]calibration.Sample{}, unjudged: it.unjudged}
	for j, v := range it.views {
		if v.err != nil {
			if err := source.Skip(it.object.Views[j], v.err); err != nil {
				return s, err
			}
		}
		if v.values == nil {
			continue
		}
		s.images++
		s.add(it.head, v.values, v.score)
		if it.head == calibration.Reconstruction && v.memory != nil {
			s.add(calibration.Memory, v.memory, imagescore.TopMean(top, v.memory))
			s.views = append(s.views, v)
		}
	}
	return s, nil
}

// add adds the map of an image to the sample of a head.
func (s *sample) add(head string, values []float32, score float64) {
	c, ok := s.scores[head]
	if !ok {
		c = calibration.Sample{Class: s.class, Object: math.Inf(-1), Pixel: math.Inf(-1)}
	}
	c.Images = append(c.Images, score)
	c.Object = max(c.Object, score)
	c.Pixel = max(c.Pixel, float64(slices.Max(values)))
	s.scores[head] = c
}

// collected are the samples of all objects.
type collected struct {
	top     float64
	trained bool
	objects []calibration.Good
	levels  map[string]calibration.Levels
	class   []sample // of the class at hand, those with both maps
	places  []int    // of class among objects
}

// add takes the sample of an object; those of a class come one after the other.
func (c *collected) add(s sample) {
	if len(c.class) > 0 && c.class[0].class != s.class {
		c.finishClass()
	}
	if len(s.views) > 0 {
		c.class, c.places = append(c.class, s), append(c.places, len(c.objects))
	}
	if len(s.scores) > 0 {
		c.objects = append(c.objects, calibration.NewGood(s.key, s.class, s.scores))
	}
}

// finishClass derives the levels of the class at hand, mixes its maps by them and forgets the maps.
func (c *collected) finishClass() {
	if len(c.class) == 0 {
		return
	}
	var l calibration.Levels
	n := 0.
	for _, s := range c.class {
		for _, v := range s.views {
			l.Reconstruction, l.Memory, n = l.Reconstruction+mean(v.reconstruction), l.Memory+mean(v.memory), n+1
		}
	}
	l = calibration.Levels{Reconstruction: max(1e-9, l.Reconstruction/n), Memory: max(1e-9, l.Memory/n)}
	c.levels[c.class[0].class] = l
	for i, s := range c.class {
		for _, v := range s.views {
			mixed := l.Mix(v.reconstruction, v.memory)
			s.add(calibration.Both, mixed, imagescore.TopMean(c.top, mixed))
		}
		c.objects[c.places[i]].Scores[calibration.Both] = calibration.ScoresOf(s.scores[calibration.Both])
	}
	c.class, c.places = nil, nil
}

func mean(values []float32) float64 {
	sum := 0.
	for _, v := range values {
		sum += float64(v)
	}
	return sum / float64(len(values))
}

// fit calibrates each head that has judged.
func (c *collected) fit(falseAlarm float64, from string) (h calibration.Heads, err error) {
	memory, both := calibration.List(c.objects, calibration.Memory), calibration.List(c.objects, calibration.Both)
	if c.trained || len(memory) < 2 {
		reconstruction := calibration.List(c.objects, calibration.Reconstruction)
		if h.Reconstruction, err = calibration.Fit(reconstruction, falseAlarm, from); err != nil {
			return h, err
		}
	}
	if len(memory) >= 2 {
		if h.Memory, err = calibration.Fit(memory, falseAlarm, from); err != nil {
			return h, fmt.Errorf("memory: %w", err)
		}
	}
	if len(both) >= 2 {
		if h.Both, err = calibration.Fit(both, falseAlarm, from); err != nil {
			return h, fmt.Errorf("both: %w", err)
		}
		var all calibration.Levels
		for _, l := range c.levels {
			all.Reconstruction += l.Reconstruction / float64(len(c.levels))
			all.Memory += l.Memory / float64(len(c.levels))
		}
		c.levels[""] = all
		h.Levels = c.levels
	}
	return h, nil
}
