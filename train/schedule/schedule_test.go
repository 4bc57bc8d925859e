package schedule

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"mvag-torch/internal/golden"
)

// Expected values: lr_T50000_warmup100, jitter_T50000 and tau_count_of_160 of the trace "tiny".
func TestGolden(t *testing.T) {
	var want struct {
		LR     map[string]float64    `json:"lr_T50000_warmup100"`
		Jitter map[string][2]float64 `json:"jitter_T50000"`
		Count  map[string]int        `json:"tau_count_of_160"`
	}
	if err := json.Unmarshal(golden.File(t, "tiny.json"), &want); err != nil {
		t.Fatal(err)
	}
	if len(want.LR) == 0 || len(want.Jitter) == 0 || len(want.Count) == 0 {
		t.Fatal("the manifest has no schedules")
	}
	close := func(name string, got, want float64) {
		if math.Abs(got-want) > 1e-15 {
			t.Errorf("%s: have %v, want %v", name, got, want)
		}
	}
	for at, lr := range want.LR {
		close("lr "+at, LR(number(t, at), 100, 50000, 2e-3, 2e-4), lr)
	}
	for at, pair := range want.Jitter {
		close("scale "+at, Linear(number(t, at), 50000, 2, 5), pair[0])
		close("prob "+at, Linear(number(t, at), 50000, 0.2, 0.8), pair[1])
	}
	for at, count := range want.Count {
		if got := HardCount(160, EasyFraction(number(t, at), 1000, 0.8)); got != count {
			t.Errorf("hard patches of 160 at %s: have %d, want %d", at, got, count)
		}
	}
}

func number(t *testing.T, text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEdges(t *testing.T) {
	if got := LR(0, 1, 10, 1, 0.1); got != 0 {
		t.Errorf("first step of a warm-up of 1: have %v, want 0", got)
	}
	if got := LR(0, 0, 10, 1, 0.1); got != 1 {
		t.Errorf("first step without warm-up: have %v, want 1", got)
	}
	if got := HardCount(3, 0.9); got != 1 {
		t.Errorf("hard patches of 3 at 0.9: have %d, want 1", got)
	}
}
