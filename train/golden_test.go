package train

import (
	"fmt"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/train/schedule"
)

// Every expected value below is of the trace "tiny" of internal/golden, compared within its tolerances.

// lossAt computes the losses of one batch at an iteration.
func lossAt(m *modeltest.Tiny, images *tensor.Tensor, v *model.Views, iteration int) Loss {
	cfg := modeltest.Config().Train
	f := m.Model.Encode(m.Scope, images)
	x := m.Model.Bottleneck.Forward(m.Scope, f.Mean, nil)
	easy := schedule.EasyFraction(iteration, cfg.HardWarmup, cfg.HardFraction)
	return NewLoss(m.Scope, f.Targets, m.Model.Decode(m.Scope, x, v), v, easy, cfg.EasyScale)
}

func checkLoss(m *modeltest.Tiny, name string, l Loss) {
	m.Scalar(name+".global", l.Global.Item())
	m.Scalar(name+".regional", l.Regional.Item())
	m.Scalar(name+".total", l.Total.Item())
}

func TestGoldenLosses(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		for _, iteration := range []int{0, 500, 5000} {
			l := lossAt(m, m.Load("input"), m.Views, iteration)
			checkLoss(m, fmt.Sprintf("loss.%d", iteration), l)
			m.Check(fmt.Sprintf("tau.%d", iteration), tensor.Stack(m.Scope, 0, l.Tau...).Floats())
		}
	})
}

// checkGradients runs backward and compares the gradients of the trace below prefix, of which there must be want, and
// the norm over all.
func checkGradients(t *testing.T, m *modeltest.Tiny, l Loss, prefix, norm string, want int) {
	t.Helper()
	l.Total.Backward()
	names := m.Names()
	checked := 0
	for _, p := range m.Model.Params {
		g := p.Value.Grad(m.Scope)
		if g == nil {
			continue
		}
		if name := prefix + p.Name; slices.Contains(names, name) {
			m.Check(name, g.Floats())
			checked++
		}
	}
	o := NewOptimizer(m.Scope, m.Model, modeltest.Config().Train)
	m.Scalar(norm, o.update(m.Scope, o.next(m.Scope, 0), l.Total).Item())
	if checked != want {
		t.Errorf("compared %d gradients, want %d", checked, want)
	}
}

func TestGoldenGradients(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		checkGradients(t, m, lossAt(m, m.Load("input"), m.Views, 500), "grad.", "norm.500", len(m.Model.Params))
	})
}

func TestGoldenVariants(t *testing.T) {
	for name, change := range map[string]func(*configs.Config){
		"near3":   func(c *configs.Config) { c.Model.NeighborMask = 3 },
		"highest": func(c *configs.Config) { c.Model.Select = "highest" },
		"all":     func(c *configs.Config) { c.Model.Select = "all" },
	} {
		t.Run(name, func(t *testing.T) {
			modeltest.Run(t, change, func(m *modeltest.Tiny) {
				l := lossAt(m, m.Load("input"), m.Views, 500)
				checkLoss(m, name+".loss", l)
				checkGradients(t, m, l, "", name+".norm", 0)
			})
		})
	}
}

func TestGoldenMissingViews(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		views, _, input := m.Missing()
		l := lossAt(m, input, views, 500)
		checkLoss(m, "missing.loss", l)
		checkGradients(t, m, l, "missing.grad.", "missing.norm", 2*len(m.Model.Decoder.Blocks))
	})
}

// TestGoldenSingleView: gate and view_logits get no gradient, hence no update.
func TestGoldenSingleView(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		l := lossAt(m, m.Load("input"), model.NewViews(m.Scope, tensor.CPU, 10, 1, nil), 500)
		checkLoss(m, "single.loss", l)
		l.Total.Backward()
		attn := m.Model.Decoder.Blocks[0].Attn
		if attn.Gate.Grad(m.Scope) != nil || attn.ViewLogits.Grad(m.Scope) != nil {
			t.Error("gate or view_logits has a gradient with one view")
		}
		before := attn.Gate.Item()
		o := NewOptimizer(m.Scope, m.Model, modeltest.Config().Train)
		m.Scalar("single.norm", o.update(m.Scope, o.next(m.Scope, 1e-3), l.Total).Item())
		if after := attn.Gate.Item(); after != before {
			t.Errorf("gate: have %v after a step, want %v", after, before)
		}
	})
}

// TestGoldenTraining repeats the run of 12 steps on one batch.
func TestGoldenTraining(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		cfg := modeltest.Config().Train
		o := NewOptimizer(m.Scope, m.Model, cfg)
		input := m.Load("input")
		var lrs, losses, norms []float32
		for it := range 12 {
			l := lossAt(m, input, m.Views, it)
			losses = append(losses, float32(l.Total.Item()))
			l.Total.Backward()
			lr := schedule.LR(it, cfg.Warmup, cfg.Iterations, cfg.LR, cfg.LRFinal)
			lrs = append(lrs, float32(lr))
			norms = append(norms, float32(o.update(m.Scope, o.next(m.Scope, lr), l.Total).Item()))
		}
		m.Check("train.lr", lrs)
		m.Check("train.loss", losses)
		m.Check("train.norm", norms)
		names := m.Names()
		for i, p := range m.Model.Params {
			m.Check("final."+p.Name, p.Value.Floats())
			for k, kind := range momentNames {
				if name := "opt." + p.Name + "." + kind; slices.Contains(names, name) {
					m.Check(name, o.moments[k][i].Floats())
				}
			}
		}
	})
}
