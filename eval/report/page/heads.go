package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/eval/report"
	"mvag-torch/model/calibration"
)

// head is what the scores of a class are by: the headline of its evaluation.
func (r *run) head(class string) string {
	if c := r.class(class); c != nil && c.Head == calibration.Memory || r.heads.Reconstruction == nil && r.heads.Memory != nil {
		return calibration.Memory
	}
	return calibration.Reconstruction
}

// class returns the results of a class, nil without any.
func (r *run) class(name string) *report.Class {
	if r.results != nil {
		for i := range r.results.Classes {
			if c := &r.results.Classes[i]; c.Name == name {
				return c
			}
		}
	}
	return nil
}

// predicts returns the head by which predict judges a class, as calibration.Heads.Head does; that the class is
// remembered is known from its calibration or its results.
func (r *run) predicts(class string) string {
	head, wanted := r.head(class), r.config.Inspect.Head
	if wanted == calibration.Reconstruction || r.heads.Of(wanted) == nil || head == calibration.Memory {
		return head
	}
	_, remembered := r.heads.Memory.Object.Classes[class]
	if c := r.class(class); c != nil && c.Heads != nil {
		remembered = true
	}
	if remembered {
		return wanted
	}
	return head
}

// judges names the heads by which the classes are judged here; note says by which predict judges them, "" where those
// are the same or the model is not calibrated. Of maps of other programs both are "".
func (r *run) judges(classes []string) (by, note string) {
	if r.heads.Headline() == nil && r.settings() == nil { // of the maps of another program
		return "", ""
	}
	here, there, same := map[string]bool{}, map[string]bool{}, true
	for _, class := range classes {
		head := r.head(class)
		here[head] = true
		if r.config != nil && r.heads.Headline() != nil {
			other := r.predicts(class)
			there[other] = true
			same = same && other == head
		}
	}
	names := func(heads map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(heads)), " or ") }
	by = names(here)
	if len(here) > 1 {
		by = fmt.Sprintf("%s (classes that were not trained on: %s)", calibration.Reconstruction, calibration.Memory)
	}
	if !same {
		note = fmt.Sprintf("Decisions here are by %s; predict judges by %s (inspect.head).", by, names(there))
	}
	return by, note
}
