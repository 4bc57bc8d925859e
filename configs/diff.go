package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Kind is a kind of thing that a setting decides. The struct tag "decides" of each field of [Config] lists what it
// decides; every list of settings that a command compares is derived from it.
type Kind string

// The kinds. A setting that decides nothing changes folders, speed or logging, and results by rounding at most.
const (
	Layout     Kind = "layout"     // which images belong to which object, camera, class and split
	Features   Kind = "features"   // what the frozen encoder gives for an image
	Training   Kind = "training"   // the weights that training leads to
	Scores     Kind = "scores"     // the anomaly maps and scores of given weights
	Metrics    Kind = "metrics"    // the metrics of given maps and labels
	Thresholds Kind = "thresholds" // the thresholds of given scores of good parts
	Nothing    Kind = "nothing"
)

// Diff lists the settings that decide one of kinds, or all settings without kinds, in which have and want differ, by
// their YAML path: "train.warmup: have 100, want 40".
func Diff(have, want Config, kinds ...Kind) []string {
	h, w := settings(have, kinds), settings(want, kinds)
	var diff []string
	for i := range w {
		if h[i].value != w[i].value {
			diff = append(diff, fmt.Sprintf("%s: have %s, want %s", w[i].path, h[i].value, w[i].value))
		}
	}
	return diff
}

// Deciding returns the settings of c that decide one of kinds, by their YAML path, as YAML writes their values.
func Deciding(c Config, kinds ...Kind) map[string]string {
	found := map[string]string{}
	for _, s := range settings(c, kinds) {
		found[s.path] = s.value
	}
	return found
}

// Changed lists the settings that decide one of kinds in which have, as [Deciding] returns it, differs from what was
// trained with: "data.crop: have 280, trained with 140". A setting that have does not know is left out.
func Changed(have map[string]string, trained Config, kinds ...Kind) []string {
	var changed []string
	for _, s := range settings(trained, kinds) {
		if value, ok := have[s.path]; ok && value != s.value {
			changed = append(changed, fmt.Sprintf("%s: have %s, trained with %s", s.path, value, s.value))
		}
	}
	return changed
}

// setting is a leaf of a configuration.
type setting struct{ path, value string }

// settings lists the leaves of c that decide one of kinds, or all without kinds, in order of the schema.
func settings(c Config, kinds []Kind) []setting {
	var found []setting
	visit(reflect.ValueOf(c), "", func(key string, field reflect.StructField, value reflect.Value) {
		wanted := func(k Kind) bool { return slices.Contains(kinds, k) }
		if value.Kind() != reflect.Struct && (len(kinds) == 0 || slices.ContainsFunc(decides(field), wanted)) {
			found = append(found, setting{key, text(field, value)})
		}
	})
	return found
}

// decides returns the kinds in the tag of a field.
func decides(field reflect.StructField) []Kind {
	var kinds []Kind
	for kind := range strings.SplitSeq(field.Tag.Get("decides"), ",") {
		kinds = append(kinds, Kind(kind))
	}
	return kinds
}

// text is a value in one line of YAML.
func text(field reflect.StructField, value reflect.Value) string {
	var node yaml.Node
	if err := node.Encode(value.Interface()); err != nil { // plain values always encode
		return field.Name
	}
	node.Style |= yaml.FlowStyle
	out, _ := yaml.Marshal(&node)
	return strings.TrimSpace(string(out))
}
