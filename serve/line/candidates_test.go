package line

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mvag-torch/inspect"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// TestCandidates: borderline objects are to be reviewed first, then all others that were called defective, until they are.
func TestCandidates(t *testing.T) {
	l := open(t, nil, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	for i := range 2 { // clear alarms, older than all others
		l.appended(t, Record{Object: fmt.Sprint("bad ", i), Class: inspecttest.Trained, Model: l.slots[0].now().judge, Decision: inspect.Defective,
			Verdict: &inspect.Verdict{Calibrated: 0.9, Decision: inspect.Defective}}, l.slots[0].now())
	}
	l.appended(t, Record{Object: "not judged in full", Class: inspecttest.Trained, Model: l.slots[0].now().judge, Decision: Failed,
		Verdict: &inspect.Verdict{Calibrated: 0.9, Decision: inspect.Defective}}, l.slots[0].now())
	someJudged(t, l, 30)
	var want, alarms []string
	for _, r := range someStored(t, l) {
		switch v := r.Verdict.Calibrated; {
		case r.Decision == Failed:
		case v >= 0.35 && v <= 0.65:
			want = append(want, r.ID+" "+Borderline)
		case r.Decision == inspect.Defective:
			alarms = append(alarms, r.ID+" "+Alarm)
		}
	}
	have := func(model string) (names []string) {
		list, err := l.Candidates(model)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			names = append(names, c.ID+" "+c.Why)
		}
		return names
	}
	borderline := len(want)
	want = append(want, alarms...)
	if names := have("parts"); !slices.Equal(names, want) || borderline == 0 || len(alarms) < 2 {
		t.Fatalf("have %q, want %q: borderline ones, then alarms", names, want)
	}
	for _, i := range []int{0, len(want) - 2} { // then the last is the alarm that is left
		id, _, _ := strings.Cut(want[i], " ")
		if _, err := l.Review(t.Context(), id, inspect.Defective, ""); err != nil {
			t.Fatal(err)
		}
		want = slices.Delete(want, i, i+1)
	}
	if names := have(""); !slices.Equal(names, want) {
		t.Errorf("reviewed: have %q, want %q", names, want)
	}
}

// TestContested: heads of a model that decide differently, and what each says.
func TestContested(t *testing.T) {
	l := open(t, nil, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	live := l.slots[0].now()
	limit := live.setup.Heads.Reconstruction.Object.For(inspecttest.Trained).Threshold
	live.setup.Heads.Memory, live.setup.Heads.Both = live.setup.Heads.Reconstruction, live.setup.Heads.Reconstruction
	for _, c := range []struct {
		name         string
		memory, both float64 // score over threshold
		decision     string
		levels, want string
		heads        int
	}{
		{"one says defective", 2, 0.5, inspect.Good, "", Contested, 3},
		{"all say good", 0.5, 0.5, inspect.Good, "", "", 3},
		{"both on another scale", 0.5, 2, inspect.Good, "0123", "", 2},
		{"called defective, contested all the same", 2, 2, inspect.Defective, "", Contested, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Stored{Record: Record{Class: inspecttest.Trained, Model: live.judge, Decision: c.decision, Verdict: &inspect.Verdict{Calibrated: 0.1}}, Levels: c.levels,
				Samples: Samples{calibration.Reconstruction: {Object: limit / 2}, calibration.Memory: {Object: c.memory * limit}, calibration.Both: {Object: c.both * limit}}}
			heads := l.heads(s)
			if have := doubt(s.Record, heads); have != c.want || len(heads) != c.heads {
				t.Fatalf("have %q of %+v, want %q of %d heads", have, heads, c.want, c.heads)
			}
			if m := heads[1]; m.Head != calibration.Memory || m.Score != c.memory*limit || m.Threshold != limit || (m.Decision == inspect.Defective) != (c.memory > 1) {
				t.Errorf("memory: have %+v", m)
			}
		})
	}
	if have := l.heads(Stored{Record: Record{Class: inspecttest.Trained, Model: Judge{Name: "parts", Checkpoint: "another"}}, Samples: Samples{calibration.Memory: {}}}); have != nil {
		t.Errorf("another model: have %+v, want none", have)
	}
}

// TestUnscored: a model without the scores of its calibration says so, is not tested for drift, and takes no good object.
func TestUnscored(t *testing.T) {
	path := inspecttest.Checkpoint(t)
	if l := open(t, nil, ModelOptions{Name: "parts", Path: path}); !l.Models()[0].Samples {
		t.Error("with scores: have a model without")
	}
	f, err := checkpoint.Open(path)
	if err == nil {
		err = errors.Join(f.Rewrite(map[string]string{checkpoint.SamplesKey: ""}, "", nil), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, nil, ModelOptions{Name: "parts", Path: path})
	if l.Models()[0].Samples {
		t.Error("without scores: have a model with")
	}
	r := someJudged(t, l, 1)[0]
	var no *ConflictError
	if _, err := l.Review(t.Context(), r.ID, inspect.Good, ""); !errors.As(err, &no) || no.Code != "no_samples" {
		t.Errorf("good: have %v", err)
	}
	if list, err := l.DriftOf("parts", nil); err != nil || len(list) != 1 || list[0].UntestedCode != "samples" {
		t.Errorf("drift: have %+v, %v", list, err)
	}
}
