package inspect

import (
	"reflect"
	"testing"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/model/calibration"
)

// TestSamples compares the scores that the inspector has of an object with those that Calibrate takes of it, for classes
// that were trained on, that are remembered, and both.
func TestSamples(t *testing.T) {
	trained, bolts := someObjects(t, 6), ofClass(t, "bolt", 10)
	path := calibrated(t, trained)
	if _, err := enroll(t, path, bolts, "bolt", false); err != nil {
		t.Fatal(err)
	}
	u := setup(t, path)
	e, err := newEngine(u, dataset.NewSource(u.Config.Data))
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	inspector := open(t, path)
	for _, o := range append(bolts[:2:2], trained[0]) {
		it, err := e.decode(t.Context(), 0, &o)
		if err == nil {
			err = e.run([]*item{it})
		}
		if err != nil {
			t.Fatal(err)
		}
		want, err := sampleOf(it, e.source, u.Config.Top())
		if err != nil {
			t.Fatal(err)
		}
		r, err := inspector.Object(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if have := r.Samples(); !reflect.DeepEqual(have, want.scores) || len(have) == 0 {
			t.Errorf("%s: have %v, want %v", o.ID, have, want.scores)
		}
		head := calibration.Reconstruction
		if o.Class == "bolt" {
			head = calibration.Memory
		}
		if have := r.Samples()[head].Object; have != r.Verdict.Score || r.Verdict.Head != head {
			t.Errorf("%s: have a sample of %v by %s, want the score %v", o.ID, have, head, r.Verdict.Score)
		}
	}
	bad := dataset.Object{ID: "bad", Views: []dataset.View{{Data: []byte("no image")}}}
	if r, err := inspector.Object(t.Context(), bad); err != nil || len(r.Samples()) != 0 {
		t.Errorf("without an image: have %v, %v, want no samples", r.Samples(), err)
	}
}

// TestIdentity changes the calibration, which leaves what decides scores as it is, and the memory, which does not.
func TestIdentity(t *testing.T) {
	objects := someObjects(t, 6)
	path := calibrated(t, objects)
	identity := func() [2]string {
		scoring, calibrations, err := setup(t, path).Identity()
		if err != nil || len(scoring) != 64 || len(calibrations) != 64 {
			t.Fatalf("have %q, %q, %v, want two hashes", scoring, calibrations, err)
		}
		return [2]string{scoring, calibrations}
	}
	first := identity()
	if again := identity(); again != first {
		t.Errorf("have %q, then %q", first, again)
	}
	err := setup(t, path).Calibrate(t.Context(), objects[:5], dataset.NewSource(setup(t, path).Config.Data), "fewer", func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	second := identity()
	if second[0] != first[0] || second[1] == first[1] {
		t.Errorf("after another calibration: have %q, want the scoring of %q and another calibration", second, first)
	}
	if _, err := enroll(t, path, ofClass(t, "bolt", 10), "bolt", false); err != nil {
		t.Fatal(err)
	}
	if third := identity(); third[0] == second[0] || third[1] == second[1] {
		t.Errorf("after a class was enrolled: have %q, want both different from %q", third, second)
	}
}

// TestWait lets a batch wait for an object that is still being decoded, and only so long.
func TestWait(t *testing.T) {
	first, second := &item{views: make([]view, views)}, &item{views: make([]view, views)}
	i := &Inspector{queue: make(chan *item), wait: time.Hour}
	if batch, _ := i.gather(first, 2); len(batch) != 1 {
		t.Errorf("nothing coming: have a batch of %d, want the one that waits", len(batch))
	}
	i.coming.Add(1)
	go func() { i.queue <- second }()
	if batch, _ := i.gather(first, 2); len(batch) != 2 {
		t.Errorf("one coming: have a batch of %d, want it in it", len(batch))
	}
	i.wait = time.Millisecond
	if batch, _ := i.gather(first, 2); len(batch) != 1 {
		t.Errorf("one that does not come in time: have a batch of %d, want 1", len(batch))
	}
}
