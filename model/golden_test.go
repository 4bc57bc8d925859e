package model_test

import (
	"fmt"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/golden"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/internal/testenv"
	"mvag-torch/model"
	"mvag-torch/model/imagescore"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// Every expected value below is of the trace "tiny" of internal/golden, compared within its tolerances.

func TestGoldenPositionTables(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		a := m.Load("position.a.stored")
		a = a.Slice(m.Scope, 1, 1, a.Dim(1)-1) // without the class entry
		b := m.Load("position.b.stored")
		for _, test := range []struct {
			name  string
			table *tensor.Tensor
			grid  int64
			class bool
		}{{"position.a.28", a, 28, true}, {"position.a.16", a, 16, true}, {"position.b.8", b, 8, false}, {"position.b.5", b, 5, false}} {
			got := model.ResamplePosition(m.Scope, test.table, test.grid, test.grid)
			if test.class {
				class := m.Load("position.a.stored").Slice(m.Scope, 1, 0, 1)
				got = tensor.Cat(m.Scope, 1, class, got)
			}
			m.Check(test.name, got.Floats())
		}
	})
}

func TestGoldenForward(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		s, input := m.Scope, m.Load("input")
		for i, x := range m.Model.Encoder.Forward(s, input) {
			m.Check(fmt.Sprintf("enc.%d", i+1), x.Floats())
		}
		f := m.Model.Encode(s, input)
		x := m.Model.Bottleneck.Forward(s, f.Mean, nil)
		m.Check("bottleneck.out", x.Floats())

		attn := &m.Model.Decoder.Blocks[0].Attn
		normed := m.Model.Decoder.Blocks[0].Norm1.Forward(s, x)
		qkv, bias := attn.Matmul(s, normed)
		y := model.Within(attn, s, qkv, bias, m.Views)
		m.Check("mva0.y", y.Floats())
		qkv, bias = attn.Matmul(s, y)
		m.Check("mva0.f", model.Mix(attn, s, qkv, bias, y, tensor.Full(s, y.Device(), tensor.Float, 1), m.Views).Floats())
		m.Check("mva0.out", attn.Forward(s, normed, m.Views).Value(s).Floats())

		for i, d := range m.Model.Decoder.Forward(s, x, m.Views) {
			m.Check(fmt.Sprintf("dec.%d", i), d.Floats())
		}
		targets, reconstructions := m.Forward(input, m.Views)
		for g := range targets {
			m.Check(fmt.Sprintf("E.%d", g), targets[g].Floats())
			m.Check(fmt.Sprintf("De.%d", g), reconstructions[g].Patches(s, false).Floats())
		}
	})
}

// TestGoldenSelection checks which tokens are kept: mva0.z and mva0.kept are view 0 looking at view 1 of both objects.
func TestGoldenSelection(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		attn := &m.Model.Decoder.Blocks[0].Attn
		q, sums := model.SplitViews(attn, m.Scope, m.Load("mva0.y"), m.Views)
		z := model.Similarity(m.Scope, q, sums.Select(m.Scope, -1, sums.Dim(-1)-1))
		pair := func(x *tensor.Tensor) []float32 { // key view 1, query view 0: [S, H, N]
			return x.Select(m.Scope, 2, 1).Select(m.Scope, 2, 0).Floats()
		}
		m.Check("mva0.z", pair(z))
		m.Check("mva0.kept", pair(model.Kept(attn, m.Scope, z)))
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
				_, reconstructions := m.Forward(m.Load("input"), m.Views)
				for g, r := range reconstructions {
					m.Check(fmt.Sprintf("%s.De.%d", name, g), r.Patches(m.Scope, false).Floats())
				}
				if name == "near3" {
					block := &m.Model.Decoder.Blocks[0]
					x := m.Model.Bottleneck.Forward(m.Scope, m.Model.Encode(m.Scope, m.Load("input")).Mean, nil)
					qkv, bias := block.Attn.Matmul(m.Scope, block.Norm1.Forward(m.Scope, x))
					m.Check("near3.y0", model.Within(&block.Attn, m.Scope, qkv, bias, m.Views).Floats())
				}
			})
		})
	}
}

func TestGoldenSingleView(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		views := model.NewViews(m.Scope, tensor.CPU, 10, 1, nil)
		_, reconstructions := m.Forward(m.Load("input"), views)
		for g, r := range reconstructions {
			m.Check(fmt.Sprintf("single.De.%d", g), r.Patches(m.Scope, false).Floats())
		}
	})
}

func TestGoldenMissingViews(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		views, present, input := m.Missing()
		targets, reconstructions := m.Forward(input, views)
		for g, r := range reconstructions {
			m.CheckRows(fmt.Sprintf("missing.De.%d", g), r.Patches(m.Scope, false).Floats(), views.Rows)
		}
		maps := mapsOfTiny(m, targets, reconstructions).Floats()
		checkScores(m, "missing.", maps, present)
	})
}

func TestGoldenMaps(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		targets, reconstructions := m.Forward(m.Load("input"), m.Views)
		maps := mapsOfTiny(m, targets, reconstructions).Floats()
		m.Check("map.out", maps)
		checkScores(m, "map.", maps, nil)
	})
	full := func(c *configs.Config) { c.Data.Crop, c.Eval.MapSize = configs.Square(392), 256 }
	modeltest.Run(t, full, func(m *modeltest.Tiny) {
		in := m.Load("map28.in") // [2, 28, 28]
		flat := func(g int64) *tensor.Tensor { return in.Select(m.Scope, 0, g).Reshape(m.Scope, 1, 1, 28*28) }
		out := m.Mapper().Forward(m.Scope, []*tensor.Tensor{flat(0), flat(1)}, m.Content()).Floats()
		m.Check("map28.out", out)
		m.Scalar("map28.score", imagescore.TopMean(0.01, out))
	})
}

// mapsOfTiny makes anomaly maps as a predictor does.
func mapsOfTiny(m *modeltest.Tiny, targets []*tensor.Tensor, reconstructions []model.Reconstruction) *tensor.Tensor {
	var distances []*tensor.Tensor
	for g, r := range reconstructions {
		d := model.Distance(m.Scope, targets[g], r.Patches(m.Scope, false))
		distances = append(distances, d.Unsqueeze(m.Scope, 1)) // one tile
	}
	return m.Mapper().Forward(m.Scope, distances, m.Content())
}

// checkScores compares image scores and both object scores; present may be nil.
func checkScores(m *modeltest.Tiny, prefix string, maps []float32, present []bool) {
	const images = modeltest.Objects * modeltest.Views
	area := len(maps) / images
	image := make([]float32, images)
	var rows []int64
	var largest, pooled []float32
	for o := range modeltest.Objects {
		var views [][]float32
		best := float32(0)
		for i := o * modeltest.Views; i < (o+1)*modeltest.Views; i++ {
			if present != nil && !present[i] {
				continue
			}
			rows = append(rows, int64(i))
			view := maps[i*area : (i+1)*area]
			views = append(views, view)
			image[i] = float32(imagescore.TopMean(0.01, view))
			best = max(best, image[i])
		}
		_, together := imagescore.Tops(0.01, views...)
		largest, pooled = append(largest, best), append(pooled, float32(together))
	}
	m.CheckRows(prefix+"image", image, rows)
	m.Check(prefix+"object_max", largest)
	m.Check(prefix+"object_pooled", pooled)
}

func TestGoldenJitter(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		x := m.Load("bottleneck.out").RequireGrad()
		out := model.Jitter(m.Scope, x, m.Load("jitter.noise"), tensor.FromFloats(m.Scope, tensor.CPU, []float32{3.5}, 1))
		m.Check("jitter.out", out.Floats())
		out.Mul(m.Scope, m.Load("jitter.up")).Sum(m.Scope, false, 0, 1, 2).Backward()
		m.Check("jitter.grad", x.Grad(m.Scope).Floats())
	})
}

// TestEncoderAgainstPretrained runs real DINOv2-S/14 weights from both kinds of file over two photographs
// (backbones/golden_vits14.safetensors, PyTorch float32). The bound is 1e-3; the differences are in the log.
func TestEncoderAgainstPretrained(t *testing.T) {
	archive := testenv.Shared(t, "backbones/dinov2_vits14.pt")
	fromArchive, _, err := model.LoadBackbone(archive, "")
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/vits14.safetensors"
	if err := weights.WriteSafetensors(path, fromArchive, nil); err != nil {
		t.Fatal(err)
	}
	fromSafetensors, _, err := model.LoadBackbone(path, "")
	if err != nil {
		t.Fatal(err)
	}
	want, err := safetensors.Open(testenv.Shared(t, "backbones/golden_vits14.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	arch, err := weights.ParseArch("vit_small_patch14_dinov2")
	if err != nil {
		t.Fatal(err)
	}
	for source, backbone := range map[string]weights.Map{"torchscript": fromArchive, "safetensors": fromSafetensors} {
		err := tensor.Run(func(s *tensor.Scope) error {
			kernels := tensor.ChooseKernels(tensor.CPU, tensor.Float, tensor.ModelShape{})
			for _, c := range []struct {
				side   int
				input  string
				layers []int
				names  string
			}{{224, "input", arch.DefaultLayers(), "block_%02d"}, {280, "input_280", []int{9}, "block_%02d_280"}} {
				e, err := model.NewEncoder(s, tensor.CPU, arch, backbone, c.layers, c.side, c.side, &kernels)
				if err != nil {
					return err
				}
				data, err := want.Float32(c.input)
				if err != nil {
					return err
				}
				_, shape, _ := want.Info(c.input)
				for i, x := range e.Forward(s, tensor.FromFloats(s, tensor.CPU, data, shape...)) {
					name := fmt.Sprintf(c.names, c.layers[i])
					expected, err := want.Float32(name)
					if err != nil {
						return err
					}
					got := x.Floats()
					t.Logf("%s %s: largest difference %.2g", source, name, golden.MaxDiff(got, expected))
					if err := golden.Compare(got, expected, 1e-3, 0); err != nil {
						t.Errorf("%s %s: %v", source, name, err)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestGoldenBF16 holds the model with matmuls in bfloat16, whose mantissas have 8 bits, to tolerances of its own: the
// norm of the difference from the float64 trace, over its norm. In the decoder a token near the limit of those that are
// kept may be taken for another.
func TestGoldenBF16(t *testing.T) {
	bf16 := func(cfg *configs.Config) { cfg.Precision = "bf16" }
	modeltest.Run(t, bf16, func(m *modeltest.Tiny) {
		check := func(name string, have *tensor.Tensor, most float64) {
			want := m.Load(name)
			norm := func(x *tensor.Tensor) float64 {
				return x.To(m.Scope, tensor.Float).Reshape(m.Scope, -1).Norm(m.Scope, 0).Item()
			}
			off := norm(have.To(m.Scope, tensor.Float).Sub(m.Scope, want)) / norm(want)
			if !(off <= most && off > 1e-5) {
				t.Errorf("%s: have %.4f of the norm off, want at most %v, and more than float32's", name, off, most)
			}
		}
		input := m.Load("input")
		f := m.Model.Encode(m.Scope, input)
		for i, x := range m.Model.Encoder.Forward(m.Scope, input) {
			check(fmt.Sprintf("enc.%d", i+1), x, 0.01)
		}
		x := m.Model.Bottleneck.Forward(m.Scope, f.Mean, nil)
		check("bottleneck.out", x, 0.01)
		for i, d := range m.Model.Decoder.Forward(m.Scope, x, m.Views) {
			check(fmt.Sprintf("dec.%d", i), d, 0.05)
		}
		targets, reconstructions := m.Forward(input, m.Views)
		for g := range targets {
			check(fmt.Sprintf("E.%d", g), targets[g], 0.01)
			check(fmt.Sprintf("De.%d", g), reconstructions[g].Patches(m.Scope, false), 0.05)
		}
		check("map.out", mapsOfTiny(m, targets, reconstructions), 0.01)
	})
}
