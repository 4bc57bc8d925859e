package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/picture"
	"mvag-torch/internal/tensor"
	"mvag-torch/internal/testenv"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
)

// quiet is a sink for tests.
type quiet struct{}

func (quiet) Begin(Plan)                           {}
func (quiet) Uncaptured(error)                     {}
func (quiet) Batch(string, int, int)               {}
func (quiet) Wants(*dataset.Object, float64) bool  { return false }
func (quiet) Draw(*dataset.Object, []picture.Tile) {}

// miniviewConfig is the setting of golden/miniview_s224.json.
func miniviewConfig(t *testing.T) configs.Config {
	cfg := configs.Default()
	cfg.Device = "cpu"
	cfg.Backbone.Name = "vit_small_patch14_dinov2"
	cfg.Backbone.Weights = testenv.Shared(t, "backbones/dinov2_vits14.pt")
	cfg.Data.Root = filepath.Dir(testenv.Shared(t, "miniview/realiad_jsons"))
	cfg.Data.Images, cfg.Data.Resize, cfg.Data.Crop = "realiad_256", configs.Square(256), configs.Square(224)
	return cfg
}

// TestGoldenMiniview evaluates the reference's trained weights on 680 rendered images. golden/miniview_s224.json was
// computed by PyTorch with Pillow's JPEG decoder, which accounts for most of the differences allowed: 0.005 for every
// metric of every class, 3 % for every score.
func TestGoldenMiniview(t *testing.T) {
	cfg := miniviewConfig(t)
	text, err := os.ReadFile(testenv.Shared(t, "golden/miniview_s224.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Metrics map[string]map[string]float64 `json:"metrics"`
		Scores  map[string]map[string]struct {
			Views       []float64 `json:"views"`
			Max, Pooled float64
		} `json:"scores"`
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(testenv.Shared(t, "golden/miniview_s224.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		t.Fatal(err)
	}
	var out Outcome
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, cfg, f)
		if err != nil {
			return err
		}
		out, err = Run(t.Context(), cfg, m, data, Options{Sink: quiet{}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	worst := 0.0
	compare := func(class string, got map[string]any) {
		for name, value := range got {
			key := name
			if strings.HasPrefix(name, "S-") {
				key += " (max)"
			}
			expected, ok := want.Metrics[class][key]
			if !ok {
				t.Errorf("%s: the reference has no %s", class, key)
			}
			d := math.Abs(value.(float64) - expected)
			worst = max(worst, d)
			if !(d <= 0.005) {
				t.Errorf("%s %s: have %.4f, want %.4f", class, name, value, expected)
			}
		}
	}
	for class, got := range decoded(t, out).Classes {
		compare(class, got)
	}
	compare("mean", decoded(t, out).Mean)

	worstScore := 0.0
	relative := func(what string, got, expected float64) {
		d := math.Abs(got/expected - 1)
		worstScore = max(worstScore, d)
		if !(d <= 0.03) {
			t.Errorf("%s: have %.5f, want %.5f", what, got, expected)
		}
	}
	folder := func(class, id string) string { return strings.TrimPrefix(id, class+"/") }
	for _, p := range out.Images {
		views := want.Scores[p.Class][folder(p.Class, p.Object)].Views
		relative(fmt.Sprintf("%s C%d", p.Object, p.Camera), float64(p.Score), views[p.Camera-1])
	}
	for _, o := range out.Objects {
		class, _, _ := strings.Cut(o.ID, "/")
		expected := want.Scores[class][folder(class, o.ID)]
		relative(o.ID+" max", float64(o.Max), expected.Max)
		relative(o.ID+" pooled", float64(o.Pooled), expected.Pooled)
	}
	t.Logf("%d images: metrics differ by at most %.4f, scores by at most %.2f %%", len(out.Images), worst, 100*worstScore)
	if len(out.Images) != 680 {
		t.Errorf("have %d images, want 680", len(out.Images))
	}
}

// decoded reads the results as another program would.
func decoded(t *testing.T, out Outcome) (r struct {
	Classes map[string]map[string]any `json:"classes"`
	Mean    map[string]any            `json:"mean"`
}) {
	text, err := json.Marshal(out.Results)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, class := range r.Classes {
		for _, count := range []string{"images", "defective", "objects", "masks", "details"} {
			delete(class, count)
		}
	}
	return r
}
