package dataset

import (
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
)

// lay writes small images with the given names below a new folder. "name = content" is a text file, a name ending in a
// slash an empty folder.
func lay(t testing.TB, names ...string) (root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "set")
	content := pngBytes(t, image.NewGray(image.Rect(0, 0, 4, 4)))
	for _, name := range names {
		path, text, ok := strings.Cut(name, " = ")
		switch {
		case strings.HasSuffix(name, "/"):
			if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
				t.Fatal(err)
			}
		case ok:
			writeFile(t, filepath.Join(root, path), []byte(text))
		default:
			writeFile(t, filepath.Join(root, name), content)
		}
	}
	return root
}

// dump formats a set as text: a line for each object, followed by its views.
func dump(set *Set, root string) string {
	var out strings.Builder
	below := func(path string) string { return strings.TrimPrefix(path, root+"/") }
	for _, split := range []struct {
		name    string
		objects []Object
	}{{"train", set.Train}, {"test", set.Test}} {
		for _, o := range split.objects {
			fmt.Fprintf(&out, "%s %s:", split.name, o.ID)
			for i, v := range o.Views {
				if v.Camera != i {
					fmt.Fprintf(&out, " CAMERA %d", v.Camera)
				}
				fmt.Fprintf(&out, " [%s", below(v.Path))
				if v.Parts > 0 {
					fmt.Fprintf(&out, " %d/%d", v.Part, v.Parts)
				}
				if v.Code != "" {
					fmt.Fprintf(&out, " %s %s", v.Code, below(v.Mask))
				}
				out.WriteString("]")
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}

func TestReaders(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cfg   configs.Data
		files []string
		want  string
	}{
		{"mvtec", configs.Data{Format: "mvtec", Views: 1}, []string{
			"cup/train/good/000.png", "cup/train/good/001.png", "cup/test/good/000.png", "cup/test/cut/000.png", "cup/test/cut/001.png",
			"cup/ground_truth/cut/000_mask.png", "ax/train/good/a.png", "readme.txt = x", "cup/license.txt = x", "._cup/train/good/a.png",
			"cup/train/good/.DS_Store = x", "docs/a.png"}, `
train ax/train/good/a: [ax/train/good/a.png]
train cup/train/good/000: [cup/train/good/000.png]
train cup/train/good/001: [cup/train/good/001.png]
test cup/test/cut/000: [cup/test/cut/000.png cut cup/ground_truth/cut/000_mask.png]
test cup/test/cut/001: [cup/test/cut/001.png cut ]
test cup/test/good/000: [cup/test/good/000.png]
`},
		{"btad: ok, ko, masks of the image's name, bmp", configs.Data{Format: "mvtec", Views: 1}, []string{
			"01/train/ok/0.bmp", "01/test/ok/1.bmp", "01/test/ko/2.bmp", "01/ground_truth/ko/2.png"}, `
train 01/train/ok/0: [01/train/ok/0.bmp]
test 01/test/ko/2: [01/test/ko/2.bmp ko 01/ground_truth/ko/2.png]
test 01/test/ok/1: [01/test/ok/1.bmp]
`},
		{"mvtec with cameras", configs.Data{Format: "mvtec", Views: 2, Pattern: "{object}_{camera}"}, []string{
			"cup/train/good/a_1_2.png", "cup/train/good/a_1_1.png", "cup/test/cut/b_2.png", "cup/ground_truth/cut/b_2_mask.png"}, `
train cup/train/good/a_1: [cup/train/good/a_1_1.png] [cup/train/good/a_1_2.png]
test cup/test/cut/b: [] [cup/test/cut/b_2.png cut cup/ground_truth/cut/b_2_mask.png]
`},
		{"visa reorganised", configs.Data{Format: "visa", Views: 1}, []string{
			"pcb1/train/good/0.JPG", "pcb1/test/good/1.JPG", "pcb1/test/bad/2.JPG", "pcb1/ground_truth/bad/2.png"}, `
train pcb1/train/good/0: [pcb1/train/good/0.JPG]
test pcb1/test/bad/2: [pcb1/test/bad/2.JPG bad pcb1/ground_truth/bad/2.png]
test pcb1/test/good/1: [pcb1/test/good/1.JPG]
`},
		{"visa by its table", configs.Data{Format: "visa", Views: 1, Table: "split_csv/1cls.csv"}, []string{
			"split_csv/1cls.csv = object,split,label,image,mask\n" +
				"fryum,train,normal,fryum/Data/Images/Normal/0.JPG,\nfryum,test,anomaly,fryum/Data/Images/Anomaly/0.JPG,fryum/Data/Masks/Anomaly/0.png\n" +
				"candle,train,normal,candle/Data/Images/Normal/0.JPG,\n",
			"fryum/Data/Images/Normal/0.JPG", "fryum/Data/Images/Anomaly/0.JPG", "fryum/Data/Masks/Anomaly/0.png", "candle/Data/Images/Normal/0.JPG"}, `
train candle/candle/Data/Images/Normal/0: [candle/Data/Images/Normal/0.JPG]
train fryum/fryum/Data/Images/Normal/0: [fryum/Data/Images/Normal/0.JPG]
test fryum/fryum/Data/Images/Anomaly/0: [fryum/Data/Images/Anomaly/0.JPG anomaly fryum/Data/Masks/Anomaly/0.png]
`},
		{"manta: strips", configs.Data{Format: "manta", Views: 2}, []string{
			"mechanics/nut/train/ok/0.png", "mechanics/nut/test/dent/1.png", "mechanics/nut/ground_truth/dent/1.png", "bolt/train/good/0.png"}, `
train bolt/train/good/0: [bolt/train/good/0.png 0/2] [bolt/train/good/0.png 1/2]
train nut/train/ok/0: [mechanics/nut/train/ok/0.png 0/2] [mechanics/nut/train/ok/0.png 1/2]
test nut/test/dent/1: [mechanics/nut/test/dent/1.png 0/2 dent mechanics/nut/ground_truth/dent/1.png] [mechanics/nut/test/dent/1.png 1/2 dent mechanics/nut/ground_truth/dent/1.png]
`},
		{"folder of good images", configs.Data{Format: "folder", Views: 1, Good: "good"}, []string{
			"good/a.jpg", "good/b.webp", "good/notes.txt = x"}, `
train set/good/a: [good/a.jpg]
train set/good/b: [good/b.webp]
`},
		{"folder with cameras, defects by kind, masks", configs.Data{Format: "folder", Views: 2, Good: "fine", Bad: "defects", Masks: "truth",
			Pattern: "{object}_{camera}.jpg"}, []string{
			"cup/fine/a_left.jpg", "cup/fine/a_right.jpg", "cup/fine/a_left.json = {}", "cup/defects/b_left.jpg", "cup/defects/dent/c_right.jpg",
			"cup/defects/dent/c_left.jpg", "cup/truth/b_left.png", "cup/truth/dent/c_left_mask.png"}, `
train cup/good/a: [cup/fine/a_left.jpg] [cup/fine/a_right.jpg]
test cup/bad/b: [cup/defects/b_left.jpg defects cup/truth/b_left.png] []
test cup/bad/dent/c: [cup/defects/dent/c_left.jpg dent cup/truth/dent/c_left_mask.png] [cup/defects/dent/c_right.jpg dent ]
`},
		{"folder with a folder an object", configs.Data{Format: "folder", Views: 2, Good: "good", Bad: "bad", Pattern: "{object}/{camera}"}, []string{
			"good/a/2.png", "good/a/10.png", "bad/b/2.png", "bad/dent/c/10.png"}, `
train set/good/a: [good/a/2.png] [good/a/10.png]
test set/bad/b: [bad/b/2.png bad ] []
test set/bad/dent/c: [] [bad/dent/c/10.png dent ]
`},
		{"names with spaces, newlines and other letters", configs.Data{Format: "folder", Views: 1, Good: "good"}, []string{
			"Gehäuse 1/good/erste\nZeile.png", "Gehäuse 1/good/два.png", "Gehäuse 1/good/\xff.png"}, `
train Gehäuse 1/good/erste
Zeile: [Gehäuse 1/good/erste
Zeile.png]
train Gehäuse 1/good/два: [Gehäuse 1/good/два.png]
train Gehäuse 1/good/` + "\xff: [Gehäuse 1/good/\xff.png]\n"},
		{"table", configs.Data{Format: "table", Views: 2, Table: "list.csv"}, []string{
			"list.csv = class,object,camera,path,split,label,mask\n" +
				"cup,1,top,p/1t.png,train,,\ncup,1,side,p/1s.png,train,good,\ncup,2,side,p/2s.png,test,dent,m/2s.png\nax,1,top,p/3.png,test,Normal,\n",
			"p/1t.png", "p/1s.png", "p/2s.png", "m/2s.png", "p/3.png"}, `
train cup/1: [p/1s.png] [p/1t.png]
test ax/1: [] [p/3.png]
test cup/2: [p/2s.png dent m/2s.png] []
`},
		{"table with a byte order mark, semicolons, quotes and few columns", configs.Data{Format: "table", Views: 1, Table: "list.csv"}, []string{
			"list.csv = \ufeffpath; Split ;LABEL\r\n\"a;\nb.png\";train;0\r\nc d.png;test;1\r\n", "a;\nb.png", "c d.png"}, `
train set/a;
b: [a;
b.png]
test set/c d: [c d.png 1 ]
`},
		{"table with contaminated training", configs.Data{Format: "table", Views: 1, Table: "list.csv"}, []string{
			"list.csv = path\tsplit\tlabel\na.png\ttrain\tdent\nb.png\ttrain\t\n", "a.png", "b.png"}, `
train set/a: [a.png dent ]
train set/b: [b.png]
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Root = lay(t, tt.files...)
			set, err := Open(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if have := "\n" + dump(set, tt.cfg.Root); have != tt.want {
				t.Errorf("have %s\nwant %s", have, tt.want)
			}
			for _, m := range set.Missing {
				if strings.Contains(m.String(), "\n") {
					t.Errorf("%q: have several lines", m)
				}
			}
		})
	}
}

func TestReaderErrors(t *testing.T) {
	mvtec := configs.Data{Format: "mvtec", Views: 1}
	folder := configs.Data{Format: "folder", Views: 1, Good: "good"}
	table := configs.Data{Format: "table", Views: 1, Table: "list.csv"}
	with := func(cfg configs.Data, edit func(*configs.Data)) configs.Data { edit(&cfg); return cfg }
	for _, tt := range []struct {
		name    string
		cfg     configs.Data
		files   []string
		phrases []string
	}{
		{"no class", mvtec, []string{"a.png"}, []string{"data.root: no class in", "want <root>/<class>/train/good"}},
		{"views", with(mvtec, func(c *configs.Data) { c.Views = 5 }), []string{"cup/train/good/a.png"},
			[]string{"data.views: have 5, want 1 with data.format mvtec"}},
		{"views of VisA", configs.Data{Format: "visa", Views: 5}, []string{"x/"}, []string{"data.views: have 5, want 1 with data.format visa"}},
		{"defects in training", mvtec, []string{"cup/train/cut/a.png"}, []string{"cup/train/cut: have a folder of defects"}},
		{"empty class", mvtec, []string{"cup/train/good/"}, []string{`set/cup: no images of class "cup"`}},
		{"unknown class", with(mvtec, func(c *configs.Data) { c.Classes = []string{"ax"} }), []string{"cup/train/good/a.png"},
			[]string{`data.classes: have "ax"`, "which has cup"}},
		{"several masks an image", mvtec, []string{"b/train/good/0.png", "b/test/cut/0.png", "b/ground_truth/cut/0/000.png"},
			[]string{"ground_truth/cut: have a folder of masks for", `"0.png"`}},
		{"masks of other names", mvtec, []string{"b/train/good/0.png", "b/test/cut/0.png", "b/ground_truth/cut/0_gt.png"},
			[]string{`ground_truth/cut: have no mask named like its image, want "0.png" or "0_mask.png"`}},
		{"two masks", mvtec, []string{"b/train/good/0.png", "b/test/cut/0.png", "b/ground_truth/cut/0.png", "b/ground_truth/cut/0.bmp"},
			[]string{`two masks of one name, "0.bmp" and "0.png"`}},
		{"two images of one name", mvtec, []string{"b/train/good/0.png", "b/train/good/0.jpg"},
			[]string{`object "b/train/good/0": two images for camera C1`, "/0.jpg", "/0.png"}},
		{"class twice in manta", configs.Data{Format: "manta", Views: 5}, []string{"a/nut/train/good/0.png", "b/nut/train/good/0.png"},
			[]string{`class "nut": have it in`, "want it once"}},
		{"class of two lines", mvtec, []string{"a\nb/train/good/0.png"}, []string{`class: have "a\nb", want a name without control characters`}},
		{"no good folder", folder, []string{"a.png"}, []string{`data.good: no folder "good"`, "want <root>/good, or <root>/<class>/good"}},
		{"no bad folder", with(folder, func(c *configs.Data) { c.Bad = "bad" }), []string{"good/a.png"}, []string{`data.bad: no folder "bad"`}},
		{"no masks folder", with(folder, func(c *configs.Data) { c.Masks = "m" }), []string{"good/a.png"}, []string{`data.masks: no folder "m"`}},
		{"no root", with(folder, func(c *configs.Data) { c.Root = "/nowhere" }), nil, []string{"data.root: no folder \"/nowhere\""}},
		{"another name", with(folder, func(c *configs.Data) { c.Pattern = "{object}_{camera}" }), []string{"good/a.png"},
			[]string{`set/good: have an image "a.png", want names as "{object}_{camera}"`}},
		{"too many cameras", with(folder, func(c *configs.Data) { c.Pattern, c.Views = "{object}_{camera}", 2 }),
			[]string{"good/a_x.png", "good/a_y.png", "good/a_z.png"}, []string{`data.views: have 2, want 3 as the set has cameras: ["x" "y" "z"]`}},
		{"pattern without object", with(folder, func(c *configs.Data) { c.Pattern = "{camera}" }), []string{"good/a.png"},
			[]string{`data.pattern: have "{camera}", want {object}`}},
		{"no table", with(table, func(c *configs.Data) { c.Table = "" }), []string{"a.png"}, []string{"data.table: have none"}},
		{"lost table", table, []string{"a.png"}, []string{"data.table: ", "list.csv: no such file"}},
		{"empty table", table, []string{"list.csv =  "}, []string{"list.csv: have no rows"}},
		{"table without rows", table, []string{"list.csv = path,split,label\n"}, []string{"list.csv: have no rows"}},
		{"UTF-16 without a mark", table, []string{"list.csv = p\x00a\x00"}, []string{"list.csv: line 1: have a zero byte, want text in UTF-8"}},
		{"cp1252", table, []string{"list.csv = path;split;label\r\na.png;train;\r\nb.png;test;L\xf6cher\r\n"}, []string{"list.csv: line 3: have the byte 0xf6, which is not UTF-8"}},
		{"unknown column", table, []string{"list.csv = path,split,label,msk\n"}, []string{`column "msk": is unknown, did you mean "mask"? want path, split, label, object, camera, mask, class`}},
		{"column twice", table, []string{"list.csv = path,split,label,Path\n"}, []string{`column "path": have it twice`}},
		{"no label", table, []string{"list.csv = path,split\n"}, []string{`column "label": have none`}},
		{"fields", table, []string{"list.csv = path,split,label\na,train\n"}, []string{"list.csv: line 2: have 2 values for 3 columns"}},
		{"quote", table, []string{"list.csv = path,split,label\n\"a,train,\n"}, []string{"list.csv: line 2: have a quote inside a value or one that does not end"}},
		{"split", table, []string{"list.csv = path,split,label\na.png,val,\n"}, []string{`list.csv:2: split: have "val", want "train" or "test"`}},
		{"leaving the root", table, []string{"list.csv = path,split,label\n../a.png,train,\n"}, []string{`list.csv:2: image: have "../a.png"`}},
		{"mask leaving the root", table, []string{"list.csv = path,split,label,mask\na.png,train,x,/m.png\n"}, []string{`list.csv:2: mask: have "/m.png"`}},
		{"object without a name", table, []string{"list.csv = path,split,label,object\na.png,train,ok,\n"}, []string{"list.csv:2: object: have none"}},
		{"object in both splits", table, []string{"list.csv = path,split,label,object\na.png,train,ok,1\nb.png,test,ok,1\n", "a.png", "b.png"},
			[]string{`list.csv:3: object "set/1": is in train and in test`}},
		{"lost image", table, []string{"list.csv = path,split,label\na\n.png,train,\n"}, []string{"list.csv: line 2: have 1 values for 3 columns"}},
		{"lost image of two lines", table, []string{"list.csv = path,split,label\n\"a\n.png\",train,\n"}, []string{"list.csv:2: stat", `a\n.png`, "no such file"}},
		{"lost mask", table, []string{"list.csv = path,split,label,mask\na.png,test,x,m.png\n", "a.png"}, []string{"list.csv:2: ", "m.png: no such file"}},
		{"label of VisA", configs.Data{Format: "visa", Views: 1, Table: "l.csv"}, []string{"l.csv = object,split,label,image,mask\nx,train,good,a.png,\n"},
			[]string{`l.csv:2: label: have "good", want "normal" or "anomaly"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := lay(t, tt.files...)
			if tt.cfg.Root == "" {
				tt.cfg.Root = root
			}
			_, err := Open(tt.cfg)
			wantError(t, err, tt.phrases...)
		})
	}
}

// TestLinks: links to folders and images are followed. A circular link is an error that names it, or harmless if it is
// never followed.
func TestLinks(t *testing.T) {
	link := func(t *testing.T, to, from string) {
		t.Helper()
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	cfg := configs.Data{Format: "mvtec", Views: 1}
	t.Run("to a class", func(t *testing.T) {
		cfg.Root = lay(t, "root/")
		link(t, filepath.Join(lay(t, "cup/train/good/a.png"), "cup"), filepath.Join(cfg.Root, "cup"))
		set, err := Open(cfg)
		if err != nil || len(set.Train) != 1 {
			t.Errorf("have error %v and set %+v, want one object", err, set)
		}
	})
	t.Run("folder in itself", func(t *testing.T) {
		cfg.Root = lay(t, "cup/train/good/a.png")
		link(t, "..", filepath.Join(cfg.Root, "cup/train/good/again"))
		link(t, "..", filepath.Join(cfg.Root, "cup/test"))
		set, err := Open(cfg)
		if err == nil && len(set.Train) != 1 {
			t.Errorf("have %+v, want one object", set)
		}
	})
	for name, at := range map[string]string{"image": "cup/train/good/b.png", "class": "cup2"} {
		t.Run(name+" that is itself", func(t *testing.T) {
			cfg.Root = lay(t, "cup/train/good/a.png")
			file := filepath.Join(cfg.Root, at)
			link(t, file, file)
			_, err := Open(cfg)
			wantError(t, err, file, "too many")
		})
	}
}

// TestHoldout: data.holdout keeps whole objects for testing, the same ones whatever else is in the folder.
func TestHoldout(t *testing.T) {
	var files []string
	for i := range 20 {
		files = append(files, fmt.Sprintf("good/%02d_1.png", i), fmt.Sprintf("good/%02d_2.png", i))
	}
	cfg := configs.Data{Format: "folder", Views: 2, Good: "good", Pattern: "{object}_{camera}", Holdout: 0.25}
	cfg.Root = lay(t, files...)
	set, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Train) != 15 || len(set.Test) != 5 || len(set.Missing) != 0 {
		t.Fatalf("have %d and %d objects and %d missing views, want 15, 5, 0", len(set.Train), len(set.Test), len(set.Missing))
	}
	held := map[string]bool{}
	for _, o := range set.Test {
		held[o.ID] = true
	}
	cfg.Root = lay(t, files[2:]...)
	fewer, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range fewer.Train {
		if held[o.ID] {
			t.Errorf("%s: is in training, want it held out as before", o.ID)
		}
	}
}

// TestOpenIndex: an index can be read without its images.
func TestOpenIndex(t *testing.T) {
	cfg := configs.Data{Format: "table", Views: 1, Table: "list.csv", Root: lay(t, "list.csv = path,split,label\na.png,train,\n")}
	if _, err := OpenIndex(cfg); err != nil {
		t.Error(err)
	}
	f := newFixture(t)
	f.write(t)
	if err := os.RemoveAll(filepath.Join(f.root, "pics")); err != nil {
		t.Fatal(err)
	}
	set, err := OpenIndex(f.config())
	if err != nil || len(set.Train) != 2 {
		t.Errorf("have error %v and set %+v, want two training objects", err, set)
	}
}

// TestRealIADKinds: defects without masks in Real-IAD Variety, defective training images, and a single view.
func TestRealIADKinds(t *testing.T) {
	f := newFixture(t)
	f.index.Test[3].MaskPath = nil
	f.index.Train = append(f.index.Train, good("NG/AK/S0009/gear_0009_NG_AK_C1.png"), bad("NG/AK/S0009/gear_0009_NG_AK_C2.png", "AK"))
	f.write(t)
	cfg := f.config()
	cfg.Format = "realiad_variety"
	set, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if v := set.Test[1].Views[1]; v.Code != "HS" || v.Mask != "" {
		t.Errorf("have %+v, want a defect without a mask", v)
	}
	if v := set.Train[2].Views[1]; v.Code != "AK" || v.Mask == "" {
		t.Errorf("have %+v, want a defective training image", v)
	}
	single := newFixture(t)
	single.index.Train, single.index.Test = single.index.Train[:1], single.index.Test[:1]
	single.write(t)
	cfg = single.config()
	cfg.Views = 1
	set, err = Open(cfg)
	if err != nil || len(set.Train) != 1 || len(set.Train[0].Views) != 1 {
		t.Errorf("have error %v and set %+v, want one object of one view", err, set)
	}
}
