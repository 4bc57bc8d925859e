package main

import (
	"encoding/json"
	"testing"
)

// TestBenchOfParts times the loader and the metrics, which take no model.
func TestBenchOfParts(t *testing.T) {
	for _, c := range []struct {
		what, set string
		images    int
	}{
		{"loader", "train.objects=1", 5},
		{"metrics", "eval.map_size=32", 5 * metricObjects},
	} {
		out, err := command(t, "bench", "--what", c.what, "--steps", "2", "--set", c.set)
		if err != nil {
			t.Fatal(err)
		}
		var line struct {
			What    string
			Images  int
			Seconds []float64
		}
		if err := json.Unmarshal([]byte(out), &line); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if line.What != c.what || line.Images != c.images || len(line.Seconds) != 2 || line.Seconds[0] <= 0 {
			t.Errorf("have %+v, want %s of %d images, two steps", line, c.what, c.images)
		}
	}
}
