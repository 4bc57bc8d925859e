package page

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/eval/metric"
)

// protocol lists the members of the protocol, and those of its settings, by name.
func (r *run) protocol() ([]fact, error) {
	raw, _ := r.results.Protocol.(json.RawMessage) // as it is after reading
	var members, settings map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return nil, fmt.Errorf("results.json: protocol: have %.40q, want an object", raw)
	}
	if json.Unmarshal(members["settings"], &settings) == nil { // else it has none
		delete(members, "settings")
		maps.Copy(members, settings)
	}
	var out []fact
	for _, name := range slices.Sorted(maps.Keys(members)) {
		out = append(out, fact{name, plain(members[name])})
	}
	return out, nil
}

// plain is a JSON value as text.
func plain(value json.RawMessage) string {
	var text string
	switch {
	case json.Unmarshal(value, &text) == nil:
		return text
	case string(value) == "null", string(value) == "{}":
		return "none"
	}
	return string(value)
}

// evaluated returns the iteration of the checkpoint that was evaluated, -1 if unknown.
func (r *run) evaluated() int {
	raw, _ := r.results.Protocol.(json.RawMessage)
	var p struct {
		Iteration *int `json:"iteration"`
	}
	if json.Unmarshal(raw, &p) != nil || p.Iteration == nil {
		return -1
	}
	return *p.Iteration
}

// settings are those of the evaluation by their path in the configuration; nil if unknown.
func (r *run) settings() map[string]string {
	if r.results == nil {
		return nil
	}
	raw, _ := r.results.Protocol.(json.RawMessage)
	var p struct{ Settings map[string]string }
	if json.Unmarshal(raw, &p) != nil {
		return nil
	}
	return p.Settings
}

// measured names the samples of a metric.
func measured(n metric.Name) string {
	switch {
	case strings.HasPrefix(n.String(), "I-"):
		return "images"
	case strings.HasPrefix(n.String(), "S-"):
		return "objects"
	case n == metric.MAD:
		return "mean of the seven"
	}
	return "pixels"
}

// terms explains the names on the page.
var terms = []fact{
	{"I-, P-, S-", "What is ranked: images (one camera's view), pixels of the anomaly maps, objects (a part seen by all its cameras; its score is the highest of its images)."},
	{"AUROC", "The chance that something defective scores above something good; 50 % is guessing, 100 % perfect. Good pixels are so many that P-AUROC looks high even when small defects are missed."},
	{"AP", "Average precision: of what is reported, the fraction that is truly defective, averaged over how much of it is found. It depends on how common defects are in the test set."},
	{"F1max", "Best balance of detections and false alarms, 2·hits / (defective + reported), at the threshold that suits the test set best. It is therefore optimistic."},
	{"AUPRO", "How much of each defect region is covered by the map, averaged over regions and over low false-alarm rates of pixels; small regions count as much as large ones."},
	{"mAD", "Mean of the seven metrics of images and pixels: I-AUROC, I-AP, I-F1max, P-AUROC, P-AP, P-F1max, AUPRO."},
	{"Threshold", "The score above which something is called defective. Calibrated thresholds come from good parts alone, which the model was not trained on, for a false-alarm rate that was asked for; no test image takes part."},
}
