package configs

import (
	"reflect"
	"slices"
	"testing"
)

func TestDiff(t *testing.T) {
	a, b := Default(), Default()
	if diff := Diff(a, b); diff != nil {
		t.Errorf("equal configurations differ: %q", diff)
	}
	b.Output, b.Train.Warmup, b.Backbone.Layers, b.Eval.Blur.Size = "elsewhere", 40, []int{1, 2}, 7
	output, layers := "output: have runs, want elsewhere", "backbone.layers: have [], want [1, 2]"
	warmup, blur := "train.warmup: have 100, want 40", "eval.blur.size: have 5, want 7"
	for _, test := range []struct {
		kinds []Kind
		want  []string
	}{
		{nil, []string{output, layers, warmup, blur}},
		{[]Kind{Layout}, nil},
		{[]Kind{Features}, []string{layers}},
		{[]Kind{Layout, Features, Training}, []string{layers, warmup}},
		{[]Kind{Features, Scores}, []string{layers, blur}},
		{[]Kind{Nothing}, []string{output}},
	} {
		if diff := Diff(a, b, test.kinds...); !slices.Equal(diff, test.want) {
			t.Errorf("%v: have %q, want %q", test.kinds, diff, test.want)
		}
	}
	if have := Deciding(b, Features)["backbone.layers"]; have != "[1, 2]" {
		t.Errorf("have layers %q, want [1, 2]", have)
	}
}

// TestEveryFieldSaysWhatItDecides walks the schema: a field without a tag would be in no list.
func TestEveryFieldSaysWhatItDecides(t *testing.T) {
	known := []Kind{Layout, Features, Training, Scores, Metrics, Thresholds, Nothing}
	visit(reflect.ValueOf(Config{}), "", func(key string, field reflect.StructField, value reflect.Value) {
		if value.Kind() == reflect.Struct {
			return
		}
		kinds := decides(field)
		for _, kind := range kinds {
			if !slices.Contains(known, kind) || kind == Nothing && len(kinds) > 1 {
				t.Errorf("%s: decides %q, want some of %q, or nothing alone", key, kinds, known)
			}
		}
		// What changes features changes the weights trained with them, and the scores.
		if slices.Contains(kinds, Features) && !(slices.Contains(kinds, Training) && slices.Contains(kinds, Scores)) {
			t.Errorf("%s: decides %q, want training and scores with features", key, kinds)
		}
	})
}

// Settings that are auto are adopted from a checkpoint; others are not.
func TestAdopt(t *testing.T) {
	earlier := Default()
	earlier.Precision, earlier.Train.CacheFeatures = "bf16", "disk"
	auto := Default()
	auto.Precision, auto.Train.CacheFeatures = Auto, Auto
	auto.Adopt(earlier)
	if diff := Diff(auto, earlier); diff != nil {
		t.Errorf("have %q, want no difference", diff)
	}
	named := Default()
	named.Precision, named.Train.CacheFeatures = "tf32", "off"
	named.Adopt(earlier)
	if named.Precision != "tf32" || named.Train.CacheFeatures != "off" {
		t.Errorf("have %s and %s, want those that were named", named.Precision, named.Train.CacheFeatures)
	}
}
