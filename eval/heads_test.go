package eval

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/memory"
	"mvag-torch/model/weights"
)

// evaluateHeads evaluates the small model with the memory that edit, which may be nil, makes of one of all good objects.
func evaluateHeads(t *testing.T, cfg configs.Config, set *dataset.Set, levels map[string]calibration.Levels, edit func(*memory.Memory)) Outcome {
	t.Helper()
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		t.Fatal(err)
	}
	var out Outcome
	err = tensor.Run(func(s *tensor.Scope) error {
		tensor.SetThreads(1)
		m, err := model.New(s, tensor.CPU, cfg, arch, randomEncoder())
		if err != nil {
			return err
		}
		trained := &model.Trained{Model: m, SHA256: "a", BackboneSHA256: "b"}
		if edit != nil {
			if trained.Memory, err = remembering(s, t.Context(), cfg, m, set); err != nil {
				return err
			}
			edit(trained.Memory)
		}
		out, err = Run(t.Context(), cfg, trained, set, Options{Sink: &planned{}, Heads: calibration.Heads{Levels: levels}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// remembering fits a memory to the good objects of set.
func remembering(s *tensor.Scope, ctx context.Context, cfg configs.Config, m *model.Model, set *dataset.Set) (*memory.Memory, error) {
	good := slices.DeleteFunc(slices.Clone(set.Test), func(o dataset.Object) bool { return o.Defective() })
	loader, err := dataset.NewEvalLoader(ctx, good, dataset.LoaderOptions{Source: set.Source, Objects: 1, Prefetch: 1})
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	fitter := m.NewFitter(good, configs.Memory{Codes: 3, Dims: 2}, false)
	for i := range good {
		b, err := loader.Next()
		if err == nil {
			err = fitter.Add(&good[i], b.Present, m.PackImages(s, b.Pixels, len(b.Present)))
		}
		if err != nil {
			return nil, err
		}
	}
	return fitter.Memory, nil
}

// TestHeads evaluates by memory and both beside the headline, which stays what it is without them.
func TestHeads(t *testing.T) {
	cfg := smallConfig()
	set := smallSet(t, cfg, "gear", "nut")
	levels := map[string]calibration.Levels{"": {Reconstruction: 0.5, Memory: 0.1}}
	plain := evaluateHeads(t, cfg, set, nil, nil)
	all := evaluateHeads(t, cfg, set, levels, func(*memory.Memory) {})
	images, objects := slices.Clone(all.Images), slices.Clone(all.Objects)
	for i := range images {
		images[i].Heads = nil
	}
	for i := range objects {
		objects[i].Heads = nil
	}
	if fmt.Sprint(plain.Images, plain.Objects) != fmt.Sprint(images, objects) {
		t.Error("with a memory, the scores of the headline differ")
	}
	heads := func(out Outcome) (list []string) {
		for _, c := range out.Results.Classes {
			list = append(list, fmt.Sprint(c.Name, " ", c.Head, " ", len(c.Heads)))
		}
		return list
	}
	if have := heads(all); !slices.Equal(have, []string{"gear  2", "nut  2"}) {
		t.Errorf("have %q", have)
	}
	if have := heads(evaluateHeads(t, cfg, set, nil, func(*memory.Memory) {})); have[0] != "gear  1" {
		t.Errorf("without levels: have %q, want memory alone beside the headline", have)
	}
	alone := evaluateHeads(t, cfg, set, levels, func(m *memory.Memory) { m.Classes["nut"].Alone = true })
	if have := heads(alone); !slices.Equal(have, []string{"gear  2", "nut memory 0"}) {
		t.Errorf("enrolled: have %q", have)
	}
	if a, b := fmt.Sprint(alone.Results.Classes[1].Values), fmt.Sprint(all.Results.Classes[1].Heads["memory"]); a != b {
		t.Errorf("enrolled: have %v, want those by memory beside the headline, %v", a, b)
	}
	for i, image := range alone.Images {
		if beside := all.Images[i]; image.Class == "nut" && (image.Path != beside.Path || image.Score != beside.Heads["memory"]) {
			t.Errorf("enrolled: have %+v, want the score by memory of %+v", image, beside)
		}
	}
	for i, o := range alone.Objects {
		if beside := all.Objects[i]; o.Class == "nut" && (o.ID != beside.ID || o.Max != beside.Heads["memory"]) {
			t.Errorf("enrolled: have %+v, want the score by memory of %+v", o, beside)
		}
	}
	if a, b := fmt.Sprint(alone.Results.Classes[0]), fmt.Sprint(all.Results.Classes[0]); len(a) != len(b) {
		t.Errorf("the other class: have %v, want %v", a, b)
	}
	if have := alone.Results.Alone(); !slices.Equal(have, []string{"nut"}) {
		t.Errorf("have %q judged by memory alone", have)
	}
	only := evaluateHeads(t, cfg, set, nil, func(m *memory.Memory) {
		m.Only, m.Classes["gear"].Alone, m.Classes["nut"].Alone = true, true, true
	})
	if a, b := fmt.Sprint(only.Results.Classes[0].Values), fmt.Sprint(all.Results.Classes[0].Heads["memory"]); a != b {
		t.Errorf("never trained: have %v, want %v", a, b)
	}
	if have := all.Results.Heads(); len(have) != 2 || have[0].Name != "memory" || have[1].Name != "both" {
		t.Errorf("have means %v", have)
	}
}
