package configs

import (
	"slices"
	"testing"
)

func TestDiff(t *testing.T) {
	a, b := Default(), Default()
	if diff := Diff(a, b); diff != nil {
		t.Errorf("equal configurations differ: %q", diff)
	}
	b.Train.Warmup, b.Backbone.Layers, b.Eval.Blur.Size = 40, []int{1, 2}, 7
	want := []string{"backbone.layers: have [], want [1, 2]", "train.warmup: have 100, want 40", "eval.blur.size: have 5, want 7"}
	if diff := Diff(a, b); !slices.Equal(diff, want) {
		t.Errorf("have %q, want %q", diff, want)
	}
	if diff := Diff(a, b, "train.warmup", "eval", "backbone.lay"); !slices.Equal(diff, want[:1]) {
		t.Errorf("have %q, want %q", diff, want[:1])
	}
}
