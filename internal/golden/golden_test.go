package golden

import (
	"math"
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	nan := float32(math.NaN())
	tests := []struct {
		name       string
		got, want  []float32
		atol, rtol float64
		problem    string // "" where they agree
	}{
		{"equal", []float32{1, 2}, []float32{1, 2}, 0, 0, ""},
		{"within absolute", []float32{1.5}, []float32{1}, 0.5, 0, ""},
		{"within relative", []float32{110}, []float32{100}, 0, 0.1, ""},
		{"beyond", []float32{0, 1, 5}, []float32{0, 2, 1}, 0.5, 0, "2 of 3 elements differ; worst is element 2"},
		{"NaN", []float32{nan}, []float32{0}, 9, 9, "element 0: have NaN"},
		{"expected NaN", []float32{0}, []float32{nan}, 9, 9, "want NaN"},
		{"lengths", []float32{1}, nil, 0, 0, "have 1 elements, want 0"},
	}
	for _, test := range tests {
		err := Compare(test.got, test.want, test.atol, test.rtol)
		if (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: have %v, want %q", test.name, err, test.problem)
		}
	}
}
