package model_test

import (
	"math"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/memory"
	"mvag-torch/model/modeltest"
)

// TestDistances compares with the definition in float64: half the squared distance of a patch, divided by its norm, to
// the nearest code of its class and camera, where it may leave the subspace freely.
func TestDistances(t *testing.T) {
	modeltest.Run(t, nil, func(m *modeltest.Tiny) {
		s, features := m.Scope, m.Model.Encode(m.Scope, m.Load("input"))
		batch := &dataset.Batch{Views: modeltest.Views}
		for _, class := range []string{"gear", "nut"} {
			o := &dataset.Object{Class: class, ID: class}
			for c := range modeltest.Views {
				o.Views = append(o.Views, dataset.View{Camera: c, Path: "x"})
				batch.Present = append(batch.Present, true)
			}
			batch.Objects = append(batch.Objects, o)
		}
		packed := m.Model.Pack(s, features).Bytes()
		half := len(packed) / 2
		fitter := m.Model.NewFitter([]dataset.Object{*batch.Objects[0]}, configs.Memory{Codes: 7, Dims: 3}, false)
		if err := fitter.Add(batch.Objects[0], batch.Present[:modeltest.Views], packed[:half]); err != nil {
			t.Fatal(err)
		}
		remembered := fitter.Memory.Classes["gear"]
		fitter.Memory.Classes["nut"] = remembered // other images than it was fitted to
		check := func(name string, batch *dataset.Batch, from int, wantRows []int64, cameras func(row int64) []int) {
			t.Helper()
			var targets []*tensor.Tensor
			for _, x := range features.Targets {
				targets = append(targets, x.Slice(s, 0, int64(from), int64(len(batch.Present))))
			}
			rows, distances := model.NewMemory(s, m.Model, fitter.Memory).Distances(s, targets, batch)
			if sorted := slices.Sorted(slices.Values(rows)); !slices.Equal(sorted, wantRows) || len(distances) != len(targets) {
				t.Fatalf("%s: have rows %v of %d targets, want %v of %d", name, rows, len(distances), wantRows, len(targets))
			}
			for g, d := range distances {
				have, x := d.Floats(), targets[g].Floats()
				patches, c := int(targets[g].Dim(1)), int(targets[g].Dim(2))
				for i, row := range rows {
					for p := range patches {
						want := math.Inf(1)
						for _, camera := range cameras(row) {
							want = min(want, rememberedDistance(x[(int(row)*patches+p)*c:][:c], remembered.Cameras[camera], g))
						}
						if v := float64(have[i*patches+p]); !(math.Abs(v-want) <= 1e-5) {
							t.Fatalf("%s: target %d, image %d, patch %d: have %v, want %v", name, g, row, p, v, want)
						}
					}
				}
			}
		}
		own := func(row int64) []int { return []int{int(row) % modeltest.Views} }
		all := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		check("two classes", batch, 0, all, own)
		some := *batch
		some.Present = slices.Clone(batch.Present)
		some.Present[3] = false
		some.Objects = []*dataset.Object{batch.Objects[0], {Class: "bolt", ID: "bolt", Views: batch.Objects[1].Views}}
		check("an absent image and an unknown class", &some, 0, []int64{0, 1, 2, 4}, own)
		single := &dataset.Batch{Views: 1, Present: []bool{true}, Objects: []*dataset.Object{{Class: "nut", Views: []dataset.View{{Path: "x"}}}}}
		check("a single image", single, 6, []int64{0}, func(int64) []int { return []int{0, 1, 2, 3, 4} })
	})
}

// rememberedDistance is that of a patch x [C] to what is remembered of a target.
func rememberedDistance(x []float32, m memory.Map, target int) float64 {
	floats := func(data []byte) []float32 {
		values, _ := safetensors.AppendFloat32(nil, safetensors.F16, data)
		return values[target*len(values)/m.Targets:][:len(values)/m.Targets]
	}
	basis, codes, norm := floats(m.Basis), floats(m.Coordinates), 0.
	for _, v := range x {
		norm += float64(v) * float64(v)
	}
	rest, p := make([]float64, len(x)), make([]float64, m.Dims)
	for i, v := range x {
		rest[i] = float64(v)/math.Sqrt(norm) - float64(basis[i])
	}
	for d := range p {
		for i, v := range rest {
			p[d] += v * float64(basis[(1+d)*len(x)+i])
		}
	}
	outside, inside := 0., math.Inf(1)
	for i, v := range rest {
		for d := range p {
			v -= p[d] * float64(basis[(1+d)*len(x)+i])
		}
		outside += v * v
	}
	for k := range m.Codes {
		sum := 0.
		for d, v := range p {
			sum += (v - float64(codes[k*m.Dims+d])) * (v - float64(codes[k*m.Dims+d]))
		}
		inside = min(inside, sum)
	}
	return (outside + inside) / 2
}
