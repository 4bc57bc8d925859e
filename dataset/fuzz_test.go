package dataset

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
)

// sound checks what every reader guarantees: each object has views for all cameras and at least one image, IDs are
// unique, and no file is outside root.
func sound(t *testing.T, set *Set, root string, views int) {
	t.Helper()
	ids := map[string]bool{}
	for _, o := range slices.Concat(set.Train, set.Test) {
		if ids[o.ID] || !slices.Contains(set.Classes, o.Class) || len(o.Views) != views {
			t.Errorf("object %q of class %q: have %d views, or it is there twice", o.ID, o.Class, len(o.Views))
		}
		ids[o.ID] = true
		if !slices.ContainsFunc(o.Views, View.Present) {
			t.Errorf("object %q: have no image", o.ID)
		}
		for c, v := range o.Views {
			for _, path := range []string{v.Path, v.Mask} {
				if below, err := filepath.Rel(root, path); path != "" && (err != nil || !filepath.IsLocal(below)) {
					t.Errorf("object %q: %q is outside %q", o.ID, path, root)
				}
			}
			if v.Camera != c || !v.Present() && v.Mask != "" {
				t.Errorf("object %q: have view %+v at %d", o.ID, v, c)
			}
		}
	}
}

// fuzzTable reads data as the table of a data set.
func fuzzTable(t *testing.T, format string, data []byte, views int) {
	root := t.TempDir()
	writeFile(t, filepath.Join(root, "list.csv"), data)
	set, err := OpenIndex(configs.Data{Format: format, Root: root, Table: "list.csv", Views: views})
	if err != nil {
		// An error of encoding/csv or ours: one line that names the file or setting.
		if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "list.csv") && !strings.Contains(err.Error(), "data.") {
			t.Errorf("have error %q", err)
		}
		return
	}
	sound(t, set, root, views)
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("class,object,camera,path,split,label,mask\ncup,1,1,a.png,train,,\ncup,1,2,b.png,train,dent,m.png\n"))
	f.Add([]byte("\xef\xbb\xbfpath;split;label\r\n\"a;\nb\";test;0\r\n"))
	f.Add([]byte("path\tsplit\tlabel\n../a\ttrain\t\n"))
	f.Add([]byte("sep=;\r\n;Path;SPLIT;label\r\n0;Bilder\\a\u0308.png;Train;0,0\r\n;;;\r\n"))
	f.Add([]byte("\xff\xfep\x00a\x00t\x00h\x00\n\x00"))
	f.Add([]byte("path,split,label\r\"a\nb\",training,False\r//c/./d.png,test,\xe4\r"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, views := range []int{1, 2} {
			fuzzTable(t, "table", data, views)
		}
	})
}

func FuzzVisA(f *testing.F) {
	f.Add([]byte("object,split,label,image,mask\nx,train,normal,x/0.JPG,\nx,test,anomaly,x/1.JPG,x/1.png\n"))
	f.Add([]byte("object,split,label,image,mask\n,train,normal,/x,\n"))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzTable(t, "visa", data, 1) })
}

// fuzzTree creates up to 12 files with the given names, separated by NUL, and reads them as a data set.
func fuzzTree(t *testing.T, names string, cfg configs.Data) {
	cfg.Root = t.TempDir()
	for i, name := range strings.SplitN(names, "\x00", 13) {
		path := filepath.Join(cfg.Root, name)
		if i == 12 || len(path) > 400 || !filepath.IsLocal(name) {
			break
		}
		// A name may be too long, or that of a folder; then there is one file less.
		if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
			_ = os.WriteFile(path, nil, 0o600)
		}
	}
	set, err := Open(cfg)
	if err != nil {
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("have error of several lines %q", err)
		}
		return
	}
	sound(t, set, cfg.Root, cfg.Views)
}

func FuzzMVTec(f *testing.F) {
	f.Add("cup/train/good/0.png\x00cup/test/cut/0.png\x00cup/ground_truth/cut/0_mask.png", "")
	f.Add("01/train/ok/0_1.bmp\x0001/test/ko/1_2.bmp\x0001/ground_truth/ko/1.png/x.png", "{object}_{camera}")
	f.Add("a\nb/train/good/\xff.png", "{object}")
	f.Add("c\u0308/Train/GOOD/day/0.png\x00c\u0308/test/cut/0.png\x00c\u0308/ground_truth/0.png\x00\u010b/train/good/0.png", "")
	f.Add("a/train/good/heat/0.png\x00a/train/good/predictions.jsonl\x00a/0.png\x00b/0.png", "")
	f.Fuzz(func(t *testing.T, names, pattern string) {
		fuzzTree(t, names, configs.Data{Format: "mvtec", Views: 1, Pattern: pattern})
		fuzzTree(t, names, configs.Data{Format: "mvtec", Views: 2, Pattern: pattern})
	})
}

func FuzzManta(f *testing.F) {
	f.Add("mechanics/nut/train/ok/0.png\x00mechanics/nut/test/dent/1.png\x00mechanics/nut/ground_truth/dent/1.png")
	f.Add("nut/train/good/0.png\x00mechanics/nut/train/good/0.png")
	f.Fuzz(func(t *testing.T, names string) { fuzzTree(t, names, configs.Data{Format: "manta", Views: 5}) })
}

func FuzzFolder(f *testing.F) {
	f.Add("good/a_1.png\x00good/a_2.png\x00bad/b_1.png\x00bad/dent/c_2.png\x00masks/b_1.png", "{object}_{camera}.png")
	f.Add("cup/good/a/x.jpg\x00cup/bad/dent/b/y.jpg\x00cup/masks/dent/b/y_mask.png", "{object}/{camera}")
	f.Add("good/day/a_1.png\x00bad/dent/day/b_1.png\x00bad/b_1.png\x00masks/b_1.png\x00masks/dent/c.png\x00Ok/x_1.png", "{object}_{camera}")
	f.Fuzz(func(t *testing.T, names, pattern string) {
		fuzzTree(t, names, configs.Data{Format: "folder", Views: 2, Good: "good", Bad: "bad", Masks: "masks", Pattern: pattern, Holdout: 0.5})
	})
}
