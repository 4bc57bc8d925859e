package model_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// TestLossOverRanks: the losses of the ranks add up to that of the whole batch, and the gradients of their images are
// those of the whole, whichever images are absent: none, some of each rank, all of one rank.
func TestLossOverRanks(t *testing.T) {
	const ranks, objects, views = 2, 4, 3
	for _, absent := range [][]int{nil, {1, 7, 8}, {6, 7, 8, 9, 10, 11, 0}} {
		whole := lossOf(t, nil, absent, 0, objects)
		dir := teamtest.Run(t, ranks, func(tm *team.Team, dir string) {
			teamtest.Write(t, dir, tm.Rank(), bytesOf(lossOf(t, tm.Group(), absent, tm.Rank()*objects/ranks, objects/ranks)))
		})
		var sum [2]float64
		var gradient []float32
		for _, data := range teamtest.Read(t, dir, ranks) {
			part := floatsOf(data)
			sum[0], sum[1] = sum[0]+float64(part[0]), sum[1]+float64(part[1])
			if part[2] != whole[2] {
				t.Errorf("absent %v: tau: have %v, want %v", absent, part[2], whole[2])
			}
			gradient = append(gradient, part[3:]...)
		}
		for i, have := range sum {
			if math.Abs(have-float64(whole[i])) > 1e-6 {
				t.Errorf("absent %v: loss %d: have %v, want %v", absent, i, have, whole[i])
			}
		}
		for i, want := range whole[3:] {
			if math.Abs(float64(gradient[i]-want)) > 1e-8 {
				t.Fatalf("absent %v: gradient %d: have %v, want %v", absent, i, gradient[i], want)
			}
		}
	}
}

// lossOf returns both losses of some objects of a batch, τ, and the gradient of the reconstruction.
func lossOf(t *testing.T, g *tensor.Group, absent []int, from, count int) (out []float32) {
	const objects, views, patches, channels, hard = 4, 3, 20, 16, 50
	teamtest.OnThread(t, func(s *tensor.Scope) {
		tensor.Seed(5)
		random := func() *tensor.Tensor {
			x := tensor.Rand(s, tensor.CPU, objects*views, patches, channels).AddScalar(s, -0.5)
			return x.Slice(s, 0, int64(from*views), int64(count*views))
		}
		target, rec := random(), random().Detach(s).RequireGrad()
		present := bytes.Repeat([]byte{1}, objects*views)
		for _, i := range absent {
			present[i] = 0
		}
		var part []bool
		for _, p := range present[from*views : (from+count)*views] {
			part = append(part, p == 1)
		}
		v := model.NewViews(s, tensor.CPU, count, views, part)
		if g != nil {
			v.Ranks = model.Ranks{Group: g, Present: objects*views - len(absent)}
		}
		l := model.ComposedLoss(s, target, rec, v, hard, 0.1)
		out = append(out, float32(l.Global.Item()), float32(l.Regional.Item()), float32(l.Tau.Item()))
		l.Global.Add(s, l.Regional).Backward()
		out = append(out, rec.Grad(s).Floats()...)
	})
	return out
}

func bytesOf(x []float32) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, x)
	return b.Bytes()
}

func floatsOf(data []byte) []float32 {
	x := make([]float32, len(data)/4)
	_ = binary.Read(bytes.NewReader(data), binary.LittleEndian, x)
	return x
}
