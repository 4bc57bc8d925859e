package weights

import (
	"math/rand/v2"
	"strings"
)

// Random returns weights of the right names and shapes for blocks 0 to last, with a position table for grid x grid
// patches where the family has one. They serve measurements of speed and tests.
func (a Arch) Random(last, grid int, seed int64) Map {
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	m := Map{}
	list := a.parameters(last)
	if a.Family != DINOv3 {
		list = append(list, want{"pos_embed", []int64{1, int64(1 + grid*grid), int64(a.Dim)}})
	}
	for _, w := range list {
		n := int64(1)
		for _, d := range w.shape {
			n *= d
		}
		var offset float32
		if strings.HasSuffix(w.name, ".gamma") || strings.Contains(w.name, "norm") && strings.HasSuffix(w.name, ".weight") {
			offset = 1
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = offset + 0.05*float32(rng.NormFloat64())
		}
		m[w.name] = Tensor{w.shape, data}
	}
	return m
}
