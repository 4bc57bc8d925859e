package components

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// labels paints the component of each pixel, -1 where the mask is not set.
func labels(rs Runs, pixels int) []int {
	out := slices.Repeat([]int{-1}, pixels)
	for _, r := range rs {
		for i := r.From; i < r.To; i++ {
			out[i] = r.Component
		}
	}
	return out
}

// flood is the definition: it numbers 8-connected sets of pixels in the order of their first pixels.
func flood(mask []bool, width int) (label []int, n int) {
	label = slices.Repeat([]int{-1}, len(mask))
	var fill func(row, column int)
	fill = func(row, column int) {
		i := row*width + column
		if row < 0 || column < 0 || column >= width || i >= len(mask) || !mask[i] || label[i] >= 0 {
			return
		}
		label[i] = n
		for d := range 9 {
			fill(row+d/3-1, column+d%3-1)
		}
	}
	for i := range mask {
		if mask[i] && label[i] < 0 {
			fill(i/width, i%width)
			n++
		}
	}
	return label, n
}

// check compares with the definition.
func check(t *testing.T, name string, rs *Runs, mask []bool, width int) (n int) {
	t.Helper()
	n = rs.Find(mask, width)
	want, components := flood(mask, width)
	if have := labels(*rs, len(mask)); n != components || !slices.Equal(have, want) {
		t.Errorf("%s: have %d components %v, want %d %v", name, n, have, components, want)
	}
	for _, r := range *rs {
		size := 0
		for _, label := range want {
			if label == r.Component {
				size++
			}
		}
		if r.Size != size {
			t.Errorf("%s: component %d: have %d pixels, want %d", name, r.Component, r.Size, size)
		}
	}
	return n
}

func TestFind(t *testing.T) {
	var rs Runs // reused: nothing of the mask before may remain
	for _, c := range []struct {
		name, mask string // rows separated by spaces
		components int
		pixels     int
	}{
		{"none", "... ...", 0, 0},
		{"all", "## ##", 1, 4},
		{"diagonal", "#. .#", 1, 2},
		{"other diagonal", ".# #.", 1, 2},
		{"one apart", "#.# ...", 2, 2},
		{"row ends do not touch the next row", "..# ... #..", 2, 2},
		{"end and begin of neighbouring rows", "...# #...", 2, 2},
		{"joined from below", "#.#.# #.#.# .#.#.", 1, 8},
		{"joined from below, beside another", "#..#.# ...#.# ....#.", 2, 6},
		{"ring around a dot", "##### #...# #.#.# #...# #####", 2, 17},
		{"run over two runs", "##.## #####", 1, 9},
		{"width 1", "# # . #", 2, 3},
	} {
		var mask []bool
		for _, r := range strings.ReplaceAll(c.mask, " ", "") {
			mask = append(mask, r == '#')
		}
		n := check(t, c.name, &rs, mask, strings.IndexByte(c.mask, ' '))
		if n != c.components || rs.Pixels() != c.pixels {
			t.Errorf("%s: have %d components of %d pixels, want %d of %d", c.name, n, rs.Pixels(), c.components, c.pixels)
		}
	}
}

func TestFindAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	var rs Runs
	for range 2000 {
		width, height, density := 1+rng.IntN(12), 1+rng.IntN(12), rng.Float64()
		mask := make([]bool, width*height)
		for i := range mask {
			mask[i] = rng.Float64() < density
		}
		check(t, "random", &rs, mask, width)
	}
}
