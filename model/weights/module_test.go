package weights

import (
	"archive/zip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func goodModule() map[string]any {
	return map[string]any{
		"format": 1, "arch": "convnext_tiny.in12k", "mean": []float64{0.5, 0.5, 0.5}, "std": []float64{0.2, 0.2, 0.2},
		"height": 384, "width": 320, "patch": 16, "prefix": 1, "channels": 384, "heads": 6, "layers": []string{"stages.2.0", "stages.2.1"},
		"licence": "apache-2.0", "timm": "1.0.31", "torch": "2.11.0", "sha256": "",
	}
}

func TestParseModule(t *testing.T) {
	for name, test := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"good":               {"prefix", 1, ""},
		"another format":     {"format", 2, "format: have 2, want 1"},
		"unknown key":        {"color", 1, `unknown field "color"`},
		"size of no patches": {"height", 380, "height, width: have 380, 320, want multiples of the patch (16)"},
		"no size":            {"width", 0, "width: have 0, want 1 to 8192"},
		"negative prefix":    {"prefix", -1, "prefix: have -1"},
		"huge":               {"channels", 1 << 40, "channels: have 1099511627776"},
		"heads":              {"heads", 7, "heads: have 7, want a divisor of the channels (384)"},
		"no layers":          {"layers", []string{}, "layers: have 0"},
		"layer twice":        {"layers", []string{"2", "2"}, "each by its name, once"},
		"zero std":           {"std", []float64{0, 1, 1}, "std above 0"},
		"text for a number":  {"patch", "16", "patch"},
	} {
		m := goodModule()
		m[test.key] = test.value
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		have, err := parseModule(text)
		switch {
		case test.want == "" && (err != nil || have.Tokens() != 1+24*20 || have.arch().Prefix() != 1 || len(have.arch().DefaultLayers()) != 2):
			t.Errorf("%s: have %+v, %v", name, have, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: have %v, want one line with %q", name, err, test.want)
		}
	}
}

func TestReadModuleOfLargeMetadata(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.pt")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	e, err := w.Create("large/extra/mvag.json")
	if err == nil {
		_, err = e.Write([]byte(strings.Repeat(" ", 1<<24))) // 16 KiB compressed
	}
	if err == nil {
		err = w.Close()
	}
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadModule(path); err == nil || !strings.Contains(err.Error(), "have more than 65536 bytes") {
		t.Errorf("have %v", err)
	}
}

func TestAddress(t *testing.T) {
	for _, name := range []string{"vit_base_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2.lvd142m"} {
		have, full, err := Address(name, "")
		if want := "https://huggingface.co/timm/vit_base_patch14_reg4_dinov2.lvd142m/resolve/main/model.safetensors"; have != want || full != "vit_base_patch14_reg4_dinov2.lvd142m" || err != nil {
			t.Errorf("%s: have %q, %q, %v", name, have, full, err)
		}
	}
	if have, _, err := Address("vit_small_patch14_dinov2", "http://mirror/"); !strings.HasPrefix(have, "http://mirror/timm/") || err != nil {
		t.Errorf("have %q, %v", have, err)
	}
	if _, _, err := Address("vit_base_patch16_224", ""); err == nil || strings.Count(err.Error(), "dinov2.lvd142m") != 8 {
		t.Errorf("have %v, want the 8 names that there are", err)
	}
}

func FuzzParseModule(f *testing.F) {
	text, err := json.Marshal(goodModule())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1,"channels":1e400}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseModule(text)
		if err != nil {
			return
		}
		if m.Tokens() < 1 || m.arch().Dim%m.arch().Heads != 0 || len(m.arch().DefaultLayers()) != len(m.Layers) {
			t.Errorf("accepted %+v", m)
		}
	})
}
