package dataset

import (
	"encoding/json"
	"errors"
	"image"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
)

// fixture is a small set in Real-IAD layout: two cameras, 4 x 4 images.
type fixture struct {
	root  string
	index *index
}

func (f *fixture) config() configs.Data {
	return configs.Data{Format: "realiad", Root: f.root, Index: "jsons", Images: "pics", Views: 2}
}

func good(path string) indexEntry {
	return indexEntry{Category: "gear", AnomalyClass: "OK", ImagePath: path}
}

func bad(path, code string) indexEntry {
	mask := strings.TrimSuffix(path, filepath.Ext(path)) + "_mask.png"
	return indexEntry{Category: "gear", AnomalyClass: code, ImagePath: path, MaskPath: &mask}
}

// newFixture returns a set of class "gear": two training objects, a good test object and a defective one with a good
// view, all with S-number S0001.
func newFixture(t *testing.T) *fixture {
	return &fixture{root: t.TempDir(), index: &index{
		Meta: indexMeta{Prefix: "gear/", NormalClass: "OK"},
		Train: []indexEntry{
			good("OK/S0001/gear_0001_OK_C1_1.png"), good("OK/S0001/gear_0001_OK_C2_1.png"),
			good("OK/S0002/gear_0002_OK_C2_1.png"), good("OK/S0002/gear_0002_OK_C1_1.png"),
		},
		Test: []indexEntry{
			good("OK/S0003/gear_0003_OK_C1_1.png"), good("OK/S0003/gear_0003_OK_C2_1.png"),
			good("NG/AK/S0001/gear__0001_NG_HS_C1_1.png"), bad("NG/AK/S0001/gear__0001_NG_HS_C2_1.png", "HS"),
		},
	}}
}

// write writes index file, images and masks.
func (f *fixture) write(t *testing.T) {
	t.Helper()
	data, err := json.Marshal(f.index)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(f.root, "jsons", "gear.json"), data)
	base := filepath.Join(f.root, "pics", f.index.Meta.Prefix)
	for _, e := range slices.Concat(f.index.Train, f.index.Test) {
		writeFile(t, filepath.Join(base, e.ImagePath), pngBytes(t, image.NewGray(image.Rect(0, 0, 4, 4))))
		if mask := e.mask(); mask != "" {
			writeFile(t, filepath.Join(base, mask), pngBytes(t, image.NewGray(image.Rect(0, 0, 4, 4))))
		}
	}
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantError checks that err is one line that contains every phrase.
func wantError(t *testing.T, err error, phrases ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("have no error, want one with %q", phrases)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("have an error of several lines: %q", err)
	}
	for _, phrase := range phrases {
		if !strings.Contains(err.Error(), phrase) {
			t.Errorf("have error %q, want %q in it", err, phrase)
		}
	}
}

// TestOpen: objects are folders, cameras are in order, and the label is that of the index, not of the folder (AK).
func TestOpen(t *testing.T) {
	f := newFixture(t)
	f.write(t)
	set, err := Open(f.config())
	if err != nil {
		t.Fatal(err)
	}
	const want = `train gear/OK/S0001: [pics/gear/OK/S0001/gear_0001_OK_C1_1.png] [pics/gear/OK/S0001/gear_0001_OK_C2_1.png]
train gear/OK/S0002: [pics/gear/OK/S0002/gear_0002_OK_C1_1.png] [pics/gear/OK/S0002/gear_0002_OK_C2_1.png]
test gear/OK/S0003: [pics/gear/OK/S0003/gear_0003_OK_C1_1.png] [pics/gear/OK/S0003/gear_0003_OK_C2_1.png]
test gear/NG/AK/S0001: [pics/gear/NG/AK/S0001/gear__0001_NG_HS_C1_1.png] [pics/gear/NG/AK/S0001/gear__0001_NG_HS_C2_1.png HS pics/gear/NG/AK/S0001/gear__0001_NG_HS_C2_1_mask.png]
`
	if have := dump(set, f.root); have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
	if err := set.CheckTrain(); err != nil || len(set.Missing) != 0 {
		t.Errorf("have error %v and missing views %v", err, set.Missing)
	}
}

func move(t *testing.T, root, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(root, to)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, from), filepath.Join(root, to)); err != nil {
		t.Fatal(err)
	}
}

func TestOpenLayouts(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(t *testing.T, root string, cfg *configs.Data)
	}{
		{"index doubled", func(t *testing.T, root string, _ *configs.Data) {
			move(t, root, "jsons/gear.json", "jsons/jsons/gear.json")
		}},
		{"index of another split, named by its path", func(t *testing.T, root string, cfg *configs.Data) {
			move(t, root, "jsons/gear.json", "jsons/jsons_sv/gear.json")
			cfg.Index = "jsons/jsons_sv"
		}},
		{"images doubled", func(t *testing.T, root string, _ *configs.Data) {
			move(t, root, "pics", "old")
			move(t, root, "old/gear", "pics/gear/gear")
		}},
		{"index beside the images", func(t *testing.T, root string, cfg *configs.Data) {
			move(t, root, "jsons/gear.json", "pics/gear.json")
			cfg.Index = "pics"
		}},
		{"images behind a link", func(t *testing.T, root string, _ *configs.Data) {
			elsewhere := filepath.Join(t.TempDir(), "elsewhere")
			if err := os.Rename(filepath.Join(root, "pics"), elsewhere); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, filepath.Join(root, "pics")); err != nil {
				t.Fatal(err)
			}
		}},
		{"files of a file manager", func(t *testing.T, root string, _ *configs.Data) {
			writeFile(t, filepath.Join(root, "jsons", "._gear.json"), []byte("junk"))
			writeFile(t, filepath.Join(root, "jsons", "readme.txt"), []byte("junk"))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.write(t)
			cfg := f.config()
			tt.edit(t, f.root, &cfg)
			set, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(set.Classes, []string{"gear"}) {
				t.Errorf("have classes %q, want gear", set.Classes)
			}
			for _, o := range slices.Concat(set.Train, set.Test) {
				for _, v := range o.Views {
					if _, err := os.Stat(v.Path); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
}

func TestOpenMissingViews(t *testing.T) {
	f := newFixture(t)
	f.index.Train = f.index.Train[:3]
	f.index.Test = f.index.Test[:3]
	f.write(t)
	set, err := Open(f.config())
	if err != nil {
		t.Fatal(err)
	}
	want := []MissingView{{"gear/OK/S0002", 0}, {"gear/NG/AK/S0001", 1}}
	if !slices.Equal(set.Missing, want) {
		t.Errorf("have %v, want %v", set.Missing, want)
	}
	if have, want := set.Missing[0].String(), "gear/OK/S0002: no image of camera C1"; have != want {
		t.Errorf("have %q, want %q", have, want)
	}
}

func TestCheckTrain(t *testing.T) {
	f := newFixture(t)
	f.index.Train = []indexEntry{}
	f.write(t)
	set, err := Open(f.config())
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, set.CheckTrain(), "gear.json", `no training images of class "gear"`)
}

// TestOpenBadConfig: settings that do not match the files are errors.
func TestOpenBadConfig(t *testing.T) {
	for _, tt := range []struct {
		name    string
		edit    func(cfg *configs.Data)
		phrases []string
	}{
		{"format", func(c *configs.Data) { c.Format = "mvtec3" }, []string{`data.format: have "mvtec3", want folder, manta, mvtec, realiad, realiad_variety, table, visa`}},
		{"root", func(c *configs.Data) { c.Root += "/nowhere" },
			[]string{"data.root: no folder", "nowhere", "want <root>/jsons/<class>.json and <root>/pics/<class>/OK"}},
		{"root is a file", func(c *configs.Data) { c.Root += "/jsons/gear.json" }, []string{"data.root", "not a folder"}},
		{"index", func(c *configs.Data) { c.Index = "json" }, []string{"data.index: no folder", "want <root>/json/<class>.json"}},
		{"empty index", func(c *configs.Data) { c.Index = "pics" }, []string{"data.index: no index file"}},
		{"images", func(c *configs.Data) { c.Images = "images" }, []string{"data.images: no folder"}},
		{"wrong images", func(c *configs.Data) { c.Images = "jsons" },
			[]string{"gear.json: no file", "gear_0001_OK_C1_1.png", "want <root>/<images>/<meta.prefix><image_path>"}},
		{"class", func(c *configs.Data) { c.Classes = []string{"gear", "nut"} },
			[]string{`data.classes: have "nut", want classes of`, "which has gear"}},
		{"class leaving the folder", func(c *configs.Data) { c.Classes = []string{"../jsons/gear"} }, []string{"data.classes: have"}},
		{"class twice", func(c *configs.Data) { c.Classes = []string{"gear", "gear"} }, []string{`have "gear" twice`}},
		{"too few views", func(c *configs.Data) { c.Views = 1 }, []string{"gear.json: train[1]", "unknown camera C2, want C1..C1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.write(t)
			cfg := f.config()
			tt.edit(&cfg)
			_, err := Open(cfg)
			wantError(t, err, tt.phrases...)
		})
	}
}

// TestOpenBadIndex: index files that would mislabel images or leave the root are errors.
func TestOpenBadIndex(t *testing.T) {
	up := "../../../secret.png"
	none := ""
	for _, tt := range []struct {
		name    string
		edit    func(idx *index)
		phrases []string
	}{
		{"image above the root", func(x *index) { x.Test[1].ImagePath = "../../../x/a_C1_1.png" },
			[]string{"test[1]: image_path", "leaves the folder"}},
		{"image of another class", func(x *index) { x.Test[1].ImagePath = "../nut/a_C1_1.png" }, []string{"leaves the folder"}},
		{"absolute image", func(x *index) { x.Test[1].ImagePath = "/etc/a_C1_1.png" }, []string{"leaves the folder"}},
		{"mask above the root", func(x *index) { x.Test[3].MaskPath = &up }, []string{"test[3]: mask_path", "leaves the folder"}},
		{"prefix above the root", func(x *index) { x.Meta.Prefix = "../.." }, []string{"meta.prefix", "leaves"}},
		{"absolute prefix", func(x *index) { x.Meta.Prefix = "/" }, []string{"meta.prefix", "leaves"}},
		{"camera twice", func(x *index) { x.Train[1].ImagePath = "OK/S0001/gear_0001_OK_C1_2.png" },
			[]string{`object "gear/OK/S0001": two images for camera C1`, "gear_0001_OK_C1_1.png", "gear_0001_OK_C1_2.png"}},
		{"camera 6", func(x *index) { x.Train[0].ImagePath = "OK/S0001/gear_0001_OK_C6_1.png" },
			[]string{"train[0]", "unknown camera C6, want C1..C2"}},
		{"camera 0", func(x *index) { x.Train[0].ImagePath = "OK/S0001/gear_0001_OK_C0_1.png" }, []string{"unknown camera C0"}},
		{"no camera", func(x *index) { x.Train[0].ImagePath = "OK/S0001/gear.png" }, []string{"no camera in the file name"}},
		{"camera without number", func(x *index) { x.Train[0].ImagePath = "OK/S0001/gear_C_1.png" }, []string{"no camera in the file name"}},
		{"another category", func(x *index) { x.Test[0].Category = "nut" },
			[]string{`test[0]: category: have "nut", want "gear"`}},
		{"no label", func(x *index) { x.Test[0].AnomalyClass = "" }, []string{"test[0]: anomaly_class: have none"}},
		{"no image path", func(x *index) { x.Test[0].ImagePath = "" }, []string{"test[0]: image_path: have none"}},
		{"no normal class", func(x *index) { x.Meta.NormalClass = "" }, []string{"meta.normal_class: have none"}},
		{"defect without mask", func(x *index) { x.Test[3].MaskPath = nil },
			[]string{"test[3]: mask_path: have none", "NG_HS_C2_1.png", `anomaly_class "HS"`}},
		{"defect with empty mask", func(x *index) { x.Test[3].MaskPath = &none }, []string{"test[3]: mask_path: have none"}},
		{"good with mask", func(x *index) { x.Test[3].AnomalyClass = "OK" }, []string{"test[3]: mask_path", "want null"}},
		{"object in both splits", func(x *index) { x.Test[0].ImagePath = "OK/S0001/gear_0001_OK_C1_1.png" },
			[]string{`object "gear/OK/S0001": is in train and in test`}},
		{"no images", func(x *index) { x.Train, x.Test = []indexEntry{}, []indexEntry{} }, []string{`no images of class "gear"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			tt.edit(f.index)
			data, err := json.Marshal(f.index)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(f.root, "jsons", "gear.json"), data)
			_, err = OpenIndex(f.config())
			wantError(t, err, append(tt.phrases, filepath.Join(f.root, "jsons", "gear.json"))...)
		})
	}
}

func TestOpenMissingFirstFiles(t *testing.T) {
	for name, lost := range map[string]func(*fixture) string{
		"training image": func(f *fixture) string { return f.index.Train[0].ImagePath },
		"test image":     func(f *fixture) string { return f.index.Test[0].ImagePath },
		"mask":           func(f *fixture) string { return f.index.Test[3].mask() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.write(t)
			if err := os.Remove(filepath.Join(f.root, "pics", "gear", lost(f))); err != nil {
				t.Fatal(err)
			}
			_, err := Open(f.config())
			wantError(t, err, "gear.json: no file", lost(f))
		})
	}
}

func TestOpenUnreadableIndex(t *testing.T) {
	f := newFixture(t)
	f.write(t)
	file := filepath.Join(f.root, "jsons", "gear.json")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, file); err != nil { // a link to itself
		t.Fatal(err)
	}
	_, err := Open(f.config())
	wantError(t, err, file)
	var pathError *fs.PathError
	if !errors.As(err, &pathError) {
		t.Errorf("have %v, want the error of the file", err)
	}
}
