package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/eval/metric"
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

// decider is the head of the decisions on a class: that of predict if there are scores by it, else the headline.
func (r *run) decider(class string) string {
	head := r.head(class)
	if r.config == nil || r.heads.Headline() == nil {
		return head
	}
	predicts := r.predicts(class)
	if predicts == head {
		return head
	}
	for _, o := range r.objects {
		if _, ok := o.Heads[predicts]; o.Class == class && !ok {
			return head
		}
	}
	for _, p := range r.images {
		if _, ok := p.Heads[predicts]; p.Class == class && !ok {
			return head
		}
	}
	return predicts
}

// scoreBy is the score of a head where there is one, else the headline's.
func scoreBy(head string, heads map[string]metric.Number, headline metric.Number) float64 {
	if v, ok := heads[head]; ok {
		return float64(v)
	}
	return float64(headline)
}

// judges names the heads of the decisions on the classes. Note says by which predict judges them, "" where those are the
// same or the model is not calibrated. Of maps of other programs both are "".
func (r *run) judges(classes []string) (decided, note string) {
	if r.heads.Headline() == nil && r.settings() == nil { // of the maps of another program
		return "", ""
	}
	here, there, same := map[string]bool{}, map[string]bool{}, true
	for _, class := range classes {
		head := r.decider(class)
		here[head] = true
		if r.config != nil && r.heads.Headline() != nil {
			other := r.predicts(class)
			there[other] = true
			same = same && other == head
		}
	}
	names := func(heads map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(heads)), " or ") }
	decided = names(here)
	if !same {
		note = fmt.Sprintf("Decisions here are by %s; predict judges by %s (inspect.head).", decided, names(there))
	}
	return decided, note
}
