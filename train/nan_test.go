package train

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
)

// poisoned is a run whose parameter is NaN in some iterations, as a wrong bit in memory would make it, and right again in
// the others.
type poisoned struct {
	run    *run
	spoilt []int // iterations
	name   string
	sound  []float32
}

// set gives the parameter its values for the next iteration.
func (p *poisoned) set(next int) {
	i := slices.IndexFunc(p.run.stepper.Model.Params, func(q model.Param) bool { return q.Name == p.name })
	value := p.run.stepper.Model.Params[i].Value
	write := func(values []float32) {
		_ = tensor.Run(func(s *tensor.Scope) error {
			tensor.NoGrad(func() { value.CopyFrom(tensor.FromFloats(s, tensor.CPU, values, value.Shape()...)) })
			return nil
		})
	}
	if p.sound != nil {
		write(p.sound)
		p.sound = nil
	}
	if slices.Contains(p.spoilt, next) {
		p.sound = slices.Clone(value.Floats())
		values := slices.Clone(p.sound)
		values[3] = float32(math.NaN())
		write(values)
	}
}

// runPoisoned is a run of which the iterations in spoilt meet a NaN in the given parameter. stopAt interrupts it after so
// many steps, 0 never; every is after how many steps it reads losses back, as on a GPU.
func runPoisoned(t *testing.T, tm *team.Team, cfg configs.Config, resume bool, name string, spoilt []int, stopAt int, every ...int) (*watcher, error) {
	t.Helper()
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &poisoned{spoilt: spoilt, name: name}
	w := &watcher{}
	w.inside = func(b Begin) { p.set(b.Start) }
	w.after = func(done int) {
		p.set(done)
		if done == stopAt {
			cancel()
		}
	}
	p.run = &run{ctx: ctx, cfg: cfg, data: data, team: tm, sink: w, every: append(every, 0)[0]}
	return w, start(p.run, resume)
}

const weight = "decoder.1.mlp.fc1.weight"

// TestOnNaN: a step with a loss that is not finite changes nothing. stop names what is wrong and keeps the last
// checkpoint; skip goes on with the next batch, three times at most.
func TestOnNaN(t *testing.T) {
	for _, c := range []struct {
		name, onNaN string
		spoilt      []int
		skipped     []int
		want        []string // parts of the error
		steps       int      // in the journal
	}{
		{"stop", "stop", []int{6}, nil, []string{
			"iteration 6: loss NaN, gradient norm NaN, learning rate 0.00", "the first tensor that is not is the weight " + weight + ": NaN; ",
			CheckpointName + " (iteration 5)", "train.on_nan: skip"}, 6},
		{"stop in the first step", "stop", []int{0}, nil, []string{"iteration 0: ", "there is no checkpoint yet"}, 0},
		{"skip one", "skip", []int{6}, []int{6}, nil, 12},
		{"skip the first", "skip", []int{0}, []int{0}, nil, 12},
		{"skip the last but one", "skip", []int{10}, []int{10}, nil, 12},
		{"skip three in a row", "skip", []int{6, 7, 8}, []int{6, 7, 8}, nil, 12},
		{"the fourth stops", "skip", []int{1, 6, 7, 9}, []int{1, 6, 7}, []string{
			"iteration 9: loss NaN", "iterations 1, 6 and 7 were left out before, and three at most are", "(iteration 5)"}, 9},
		{"all", "skip", []int{0, 1, 2, 3, 4}, []int{0, 1, 2}, []string{"iteration 3: ", "there is no checkpoint yet"}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := smallConfig(t)
			cfg.Train.OnNaN = c.onNaN
			w, err := runPoisoned(t, nil, cfg, false, weight, c.spoilt, 0)
			if (err == nil) != (c.want == nil) || err != nil && strings.Contains(err.Error(), "\n") {
				t.Fatalf("have %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("have %v, want %q", err, want)
				}
			}
			var told []int
			for _, k := range w.skipped {
				told = append(told, k.Iteration)
			}
			if !slices.Equal(told, c.skipped) {
				t.Errorf("skipped %v, want %v", told, c.skipped)
			}
			journalHolds(t, cfg, c.steps, c.skipped)
			if c.want == nil {
				if _, info := checkpointOf(t, cfg); !slices.Equal(info.Skipped, c.skipped) {
					t.Errorf("checkpoint: skipped %v, want %v", info.Skipped, c.skipped)
				}
			}
		})
	}
}

// journalHolds wants so many steps, of which the skipped ones have null for a loss and say why.
func journalHolds(t *testing.T, cfg configs.Config, steps int, skipped []int) {
	t.Helper()
	text := ""
	if _, err := os.Stat(filepath.Join(Folder(cfg), "train.jsonl")); err == nil {
		text = journalOf(t, cfg)
	}
	lines := strings.Split(text, "\n")
	if len(lines)-1 != steps {
		t.Fatalf("journal: have %d steps, want %d", len(lines)-1, steps)
	}
	for i, line := range lines[:steps] {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		has := r["loss"] == nil && strings.HasPrefix(fmt.Sprint(r["skipped"]), "the weight "+weight)
		if has != slices.Contains(skipped, i) || r["iteration"] != float64(i) {
			t.Errorf("iteration %d: have %s", i, line)
		}
	}
}

// TestSkippedStepChangesNothing: a run that stops at such a step and goes on with train.on_nan skip, one that is
// interrupted after it, and one that does neither end with the same bits, with and without cached features; and they are
// not those of a run without such a step.
func TestSkippedStepChangesNothing(t *testing.T) {
	for _, cached := range []string{"off", "ram"} {
		t.Run(cached, func(t *testing.T) {
			whole := smallConfig(t)
			whole.Train.OnNaN, whole.Train.CacheFeatures, whole.Threads = "skip", cached, 1
			if _, err := runPoisoned(t, nil, whole, false, weight, []int{6}, 0); err != nil {
				t.Fatal(err)
			}
			want, _ := checkpointOf(t, whole)

			stopped := whole
			stopped.Output, stopped.Train.OnNaN = t.TempDir(), "stop"
			if _, err := runPoisoned(t, nil, stopped, false, weight, []int{6}, 0); err == nil {
				t.Fatal("did not stop")
			}
			stopped.Train.OnNaN = "skip"
			if _, err := runPoisoned(t, nil, stopped, true, weight, []int{6}, 0); err != nil {
				t.Fatal(err)
			}
			parted := whole
			parted.Output = t.TempDir()
			if _, err := runPoisoned(t, nil, parted, false, weight, []int{6}, 8); err == nil {
				t.Fatal("was not interrupted")
			}
			if _, err := runPoisoned(t, nil, parted, true, weight, nil, 0); err != nil {
				t.Fatal(err)
			}
			for name, cfg := range map[string]configs.Config{"stopped": stopped, "interrupted": parted} {
				have, info := checkpointOf(t, cfg)
				if !reflect.DeepEqual(have, want) || !slices.Equal(info.Skipped, []int{6}) {
					t.Errorf("%s: other weights or moments, skipped %v", name, info.Skipped)
				}
				if a, b := journalOf(t, whole), journalOf(t, cfg); a != b {
					t.Errorf("%s: journals differ:\n%s\n%s", name, a, b)
				}
			}
			plain := whole
			plain.Output = t.TempDir()
			if err := runOn(t.Context(), plain, false, &watcher{}); err != nil {
				t.Fatal(err)
			}
			if have, _ := checkpointOf(t, plain); reflect.DeepEqual(have, want) {
				t.Error("the step was taken")
			}
		})
	}
}

// TestCountOfSkippedSurvivesResumption: three batches in a run, not in a start.
func TestCountOfSkippedSurvivesResumption(t *testing.T) {
	cfg := smallConfig(t)
	cfg.Train.OnNaN = "skip"
	if _, err := runPoisoned(t, nil, cfg, false, weight, []int{1, 2, 3}, 6); err == nil {
		t.Fatal("was not interrupted")
	}
	_, err := runPoisoned(t, nil, cfg, true, weight, []int{8}, 0)
	if err == nil || !strings.Contains(err.Error(), "iteration 8: loss NaN") || !strings.Contains(err.Error(), "iterations 1, 2 and 3 were left out") {
		t.Errorf("have %v", err)
	}
	if _, info := checkpointOf(t, cfg); info.Iteration != 6 {
		t.Errorf("the checkpoint is of iteration %d, want 6", info.Iteration)
	}
}

// TestCheckpointHasFiniteValues: a weight that an update made infinite does not replace the last good checkpoint.
func TestCheckpointHasFiniteValues(t *testing.T) {
	cfg := smallConfig(t)
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	var r *run
	w := &watcher{after: func(done int) {
		if done == 9 { // the update of the step before the next checkpoint moves a weight by it
			_ = tensor.Run(func(s *tensor.Scope) error {
				m := r.stepper.Optimizer.moments[0][0]
				m.CopyFrom(tensor.Full(s, tensor.CPU, tensor.Float, math.Inf(1), m.Shape()...))
				return nil
			})
		}
	}}
	r = &run{ctx: t.Context(), cfg: cfg, data: data, sink: w}
	err = start(r, false)
	if err == nil || !strings.Contains(err.Error(), r.stepper.Model.Params[0].Name+" after iteration 9: have -Inf, want finite values; the last good checkpoint is ") {
		t.Errorf("have %v", err)
	}
	if f, err := checkpoint.Open(r.path); err != nil || f.Info.Iteration != 5 {
		t.Errorf("have %v, %v, want the checkpoint of iteration 5", f, err)
	} else {
		f.Close()
	}
}

// TestRanksSkipTogether: what one rank meets stops all, or is left out by all.
func TestRanksSkipTogether(t *testing.T) {
	teamtest.Run(t, 2, func(tm *team.Team, dir string) {
		cfg := shared(t, tm, dir)
		cfg.Train.OnNaN = "skip"
		mine := []int(nil)
		if tm.Rank() == 1 {
			mine = []int{5}
		}
		w, err := runPoisoned(t, tm, cfg, false, weight, mine, 0)
		if err != nil || len(w.skipped) != 1 || w.skipped[0].First != "the weight "+weight+": NaN on rank 1" {
			t.Errorf("rank %d: have %v, skipped %+v", tm.Rank(), err, w.skipped)
		}
		if _, err := tm.Meet(nil, nil); err != nil {
			t.Fatal(err)
		}
		if _, info := checkpointOf(t, cfg); info.Iteration != 8 || !slices.Equal(info.Skipped, []int{5}) {
			t.Errorf("have iteration %d, skipped %v", info.Iteration, info.Skipped)
		}
		cfg.Train.OnNaN, cfg.Name = "stop", "stop"
		_, err = runPoisoned(t, tm, cfg, false, weight, mine, 0)
		if err == nil || !strings.Contains(err.Error(), "iteration 5: loss NaN") || !strings.Contains(err.Error(), "on rank 1; ") {
			t.Errorf("rank %d: have %v", tm.Rank(), err)
		}
	})
}
