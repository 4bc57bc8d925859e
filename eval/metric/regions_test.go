package metric

import (
	"slices"
	"strings"
	"testing"
)

func TestRegions(t *testing.T) {
	cases := []struct {
		name    string
		rows    []string
		regions int
		sizes   []int // of each anomalous pixel, row by row
	}{
		{"none", []string{"...", "..."}, 0, nil},
		{"all", []string{"##", "##"}, 1, []int{4, 4, 4, 4}},
		{"diagonal", []string{"#.", ".#"}, 1, []int{2, 2}},
		{"other diagonal", []string{".#", "#."}, 1, []int{2, 2}},
		{"one apart", []string{"#.#", "..."}, 2, []int{1, 1}},
		{"row ends do not touch the next row", []string{"..#", "...", "#.."}, 2, []int{1, 1}},
		{"end and begin of neighbouring rows", []string{"...#", "#..."}, 2, []int{1, 1}},
		{"joined from below", []string{"#.#.#", "#.#.#", ".#.#."}, 1, []int{8, 8, 8, 8, 8, 8, 8, 8}},
		{"ring around a dot", []string{"#####", "#...#", "#.#.#", "#...#", "#####"}, 2,
			[]int{16, 16, 16, 16, 16, 16, 16, 16, 1, 16, 16, 16, 16, 16, 16, 16, 16}},
		{"run over two runs", []string{"##.##", "#####"}, 1, []int{9, 9, 9, 9, 9, 9, 9, 9, 9}},
		{"width 1", []string{"#", "#", ".", "#"}, 2, []int{2, 2, 1}},
	}
	var rs regions // reused: nothing of the mask before may remain
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var mask []bool
			for _, r := range strings.Join(c.rows, "") {
				mask = append(mask, r == '#')
			}
			n := rs.find(mask, len(c.rows[0]))
			var sizes []int
			for _, r := range rs {
				sizes = append(sizes, slices.Repeat([]int{r.size}, r.to-r.from)...)
			}
			if n != c.regions || !slices.Equal(sizes, c.sizes) || rs.pixels() != len(c.sizes) {
				t.Errorf("have %d regions %v, want %d %v", n, sizes, c.regions, c.sizes)
			}
		})
	}
}

func TestTouchingPicturesAreTwoRegions(t *testing.T) {
	a := Picture{Name: "a", Scores: []float32{1, 2, 3, 4}, Mask: []bool{false, false, true, true}, Height: 2, Width: 2}
	b := Picture{Name: "b", Scores: []float32{1, 2, 3, 4}, Mask: []bool{true, true, false, false}, Height: 2, Width: 2}
	if r := evaluate(t, []Picture{a, b}, AUPROLimit); r.Regions != 2 || r.Masks != 2 {
		t.Errorf("have %+v, want 2 regions of 2 masks", r)
	}
}
