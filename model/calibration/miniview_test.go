package calibration

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"mvag-torch/internal/testenv"
)

// recorded returns the scores that the reference's trained weights give the test objects of the rendered set
// (made by the reference in Python).
func recorded(t *testing.T) (good, bad map[string][]Sample) {
	t.Helper()
	text, err := os.ReadFile(testenv.Shared(t, "golden/miniview_s224.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Scores map[string]map[string]struct {
			Views []float64
			Max   float64
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	good, bad = map[string][]Sample{}, map[string][]Sample{}
	for class, objects := range file.Scores {
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			o, into := objects[name], bad
			if strings.HasPrefix(name, "OK") {
				into = good
			}
			into[class] = append(into[class], Sample{Class: class, Images: o.Views, Object: o.Max, Pixel: o.Max})
		}
	}
	return good, bad
}

// TestMiniview calibrates with some of the unseen good objects and counts false alarms among the others. No training
// object takes part, and no object is on both sides.
func TestMiniview(t *testing.T) {
	good, bad := recorded(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, test := range []struct {
		perClass int
		alpha    float64
	}{{3, 0.01}, {7, 0.01}, {7, 0.1}, {7, 0.2}} {
		const rounds = 300
		var alarms, worst, found, images, stated, inside float64
		for range rounds {
			var samples, rest []Sample
			for _, class := range []string{"bottle_cap", "gear", "nut", "pcb"} {
				order := rng.Perm(len(good[class]))
				for i, k := range order {
					if i < test.perClass {
						samples = append(samples, good[class][k])
					} else {
						rest = append(rest, good[class][k])
					}
				}
			}
			c, err := Fit(samples, test.alpha, "test")
			if err != nil {
				t.Fatal(err)
			}
			n, byClass := float64(len(rest)), map[string]float64{}
			mine := 0.
			for _, s := range rest {
				alarm := flag(c.Object.For(s.Class).Defective(s.Object))
				mine += alarm / n
				byClass[s.Class] += alarm * 4 / n
				for _, v := range s.Images {
					images += flag(c.Image.For(s.Class).Defective(v)) / float64(len(s.Images)) / n / rounds
				}
			}
			top := 0.
			for _, v := range byClass {
				top = max(top, v)
			}
			alarms, worst = alarms+mine/rounds, worst+top/rounds
			for class := range bad {
				for _, s := range bad[class] {
					found += flag(c.Object.For(class).Defective(s.Object)) / 80 / rounds
				}
			}
			scale := c.Object.For("gear")
			stated = scale.Rate
			low, high := scale.Alarms(len(rest))
			count := int(math.Round(mine * n))
			inside += flag(count >= low && count <= high) / rounds
		}
		t.Logf("%d good objects a class, %v asked for: %.3f of further good objects alarm (stated: at most %.3f; worst class %.3f), %.3f of their images; %.2f of the counts in the interval; %.3f of defective objects found",
			test.perClass, test.alpha, alarms, stated, worst, images, inside, found)
		if alarms > stated*1.15 || math.Abs(alarms-stated) > 0.06 {
			t.Errorf("%d a class at %v: have a rate of %.3f, want about %.3f", test.perClass, test.alpha, alarms, stated)
		}
		if inside < 0.9 || found < 3*alarms {
			t.Errorf("%d a class at %v: have %.2f of the counts in the interval, %.3f found at %.3f false alarms", test.perClass, test.alpha, inside, found, alarms)
		}
	}
}
