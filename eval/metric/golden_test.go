package metric

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"mvag-torch/internal/npy"
)

// goldenCase is one case of testdata/metrics.json, whose values an independent implementation computed from the rules
// that stand there; null is undefined, the _exact are fractions.
type goldenCase struct {
	Name, Kind string
	Scores     []float32
	Labels     []int
	Shape      [3]int
	Maps       [][][]float32
	Masks      [][][]uint8
	MapsFile   string `json:"maps_file"`
	MasksFile  string `json:"masks_file"`
	Expected   struct {
		AUROC, AP, F1max, AUPRO *float64
		F1maxExact              string   `json:"f1max_exact"`
		AUPROExact              string   `json:"aupro_exact"`
		AUPRO200                *float64 `json:"aupro_200"`
		Regions                 int
	}
}

func TestGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []goldenCase }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) != 14 {
		t.Fatalf("have %d cases, want 14", len(file.Cases))
	}
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if c.Kind == "scores" {
				r, err := Rank(wide(c.Scores), bools(c.Labels))
				if err != nil {
					t.Fatal(err)
				}
				c.compareRanking(t, r)
				return
			}
			images := c.images(t)
			r := evaluate(t, images, AUPROLimit)
			c.compareRanking(t, r.Ranking)
			compare(t, "aupro", r.AUPRO, c.Expected.AUPRO, 1e-9)
			compareExact(t, "aupro", r.AUPRO, c.Expected.AUPROExact)
			compare(t, "aupro_200", r.aupro200, c.Expected.AUPRO200, 1e-9)
			if r.Regions != c.Expected.Regions {
				t.Errorf("regions: have %d, want %d", r.Regions, c.Expected.Regions)
			}
		})
	}
}

func (c *goldenCase) compareRanking(t *testing.T, r Ranking) {
	t.Helper()
	compare(t, "auroc", r.AUROC, c.Expected.AUROC, 1e-12)
	compare(t, "ap", r.AP, c.Expected.AP, 1e-12)
	compare(t, "f1max", r.F1max, c.Expected.F1max, 1e-12)
	compareExact(t, "f1max", r.F1max, c.Expected.F1maxExact)
}

func compare(t *testing.T, name string, have float64, want *float64, tolerance float64) {
	t.Helper()
	if want == nil {
		want = new(float64)
		*want = math.NaN()
	}
	if !near(have, *want, tolerance) {
		t.Errorf("%s: have %v, want %v", name, have, *want)
	}
}

// compareExact compares with a fraction such as "20/29", if there is one.
func compareExact(t *testing.T, name string, have float64, fraction string) {
	t.Helper()
	a, b, ok := strings.Cut(fraction, "/")
	if !ok {
		return
	}
	num, err1 := strconv.ParseFloat(a, 64)
	den, err2 := strconv.ParseFloat(b, 64)
	if err1 != nil || err2 != nil || !near(have, num/den, 1e-12) {
		t.Errorf("%s: have %v, want %s", name, have, fraction)
	}
}

func bools(in []int) []bool {
	out := make([]bool, len(in))
	for i, l := range in {
		out[i] = l == 1
	}
	return out
}

// images of a case, inline or from its two .npy files.
func (c *goldenCase) images(t *testing.T) []Image {
	t.Helper()
	n, h, w := c.Shape[0], c.Shape[1], c.Shape[2]
	out := make([]Image, n)
	if c.MapsFile != "" {
		maps, masks := open(t, c.MapsFile), open(t, c.MasksFile)
		for i := range out {
			scores, errMap := maps.Read(i, nil)
			mask, errMask := masks.Read(i, nil)
			if errMap != nil || errMask != nil {
				t.Fatal(errMap, errMask)
			}
			out[i] = Image{Name: "smooth", Scores: scores, Mask: make([]bool, h*w), Height: h, Width: w}
			for j, v := range mask {
				out[i].Mask[j] = v != 0
			}
		}
		return out
	}
	for i := range out {
		out[i] = Image{Name: strconv.Itoa(i), Height: h, Width: w}
		for y := range h {
			out[i].Scores = append(out[i].Scores, c.Maps[i][y]...)
			for _, m := range c.Masks[i][y] {
				out[i].Mask = append(out[i].Mask, m != 0)
			}
		}
	}
	return out
}

func open(t *testing.T, name string) *npy.File {
	t.Helper()
	f, err := npy.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
