package dataset

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"mvag-torch/configs"
)

// opens opens a set and returns its dump and remarks.
func opens(t *testing.T, cfg configs.Data) (string, []string) {
	t.Helper()
	set, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return "\n" + dump(set, cfg.Root), set.Remarks()
}

// wantRemarks compares lines about a set, in which root stands for itself.
func wantRemarks(t *testing.T, have []string, root string, want ...string) {
	t.Helper()
	for i := range have {
		have[i] = strings.ReplaceAll(have[i], root+"/", "")
	}
	if !slices.Equal(have, want) {
		t.Errorf("have remarks\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// labelTable is a table of two training images and two test images with the words for good and defective.
func labelTable(good, bad string) string {
	return fmt.Sprintf("path,split,label\na.png,train,%[1]s\nb.png,train,%[1]s\nc.png,test,%[1]s\nd.png,test,%[2]s\n", good, bad)
}

// TestLabels: words, numbers and truth values for good images, as people and programs write them.
func TestLabels(t *testing.T) {
	for _, words := range [][2]string{
		{"0", "1"}, {"0.0", "1.0"}, {"0.00", "2"}, {"\"0,0\"", "\"1,0\""}, {"-0.0", "1"}, {".0", ".5"}, {"False", "True"}, {"FALSE", "TRUE"},
		{" good", " scratch"}, {"Good ", "NG"}, {"OK", "ko"}, {"normal", "anomaly"}, {"No", "Yes"}, {"none", "crack"}, {"nan", "1.0"}, {"NULL", "x"}, {"N/A", "NA"}, {"<NA>", "x"}, {"-", "x"}, {"0.000000000000000000e+00", "1.000000000000000000e+00"}, {"0E0", "1e-5"},
		{"", "bad"}, {"\u00a0good\u00a0", "😀"}, {"good", "0x0"}, {"good", "n"}, {"good", "0.01"},
	} {
		t.Run(words[0]+" and "+words[1], func(t *testing.T) {
			have, remarks := opens(t, configs.Data{Format: "table", Views: 1, Table: "list.csv",
				Root: lay(t, "list.csv = "+labelTable(words[0], words[1]), "a.png", "b.png", "c.png", "d.png")})
			code := strings.Trim(words[1], ` "`)
			if want := "\ntrain set/a: [a.png]\ntrain set/b: [b.png]\ntest set/c: [c.png]\ntest set/d: [d.png " + code + " ]\n"; have != want || remarks != nil {
				t.Errorf("have %s and %q, want %s", have, remarks, want)
			}
		})
	}
}

// TestAllTrainingDefective: labels of another meaning stop with the table, the line and the label.
func TestAllTrainingDefective(t *testing.T) {
	for name, words := range map[string][2]string{"reversed": {"1", "0"}, "words": {"fein", "kaputt"}, "single letters": {"N", "Y"}, "negative": {"negative", "positive"}} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(configs.Data{Format: "table", Views: 1, Table: "list.csv",
				Root: lay(t, "list.csv = "+labelTable(words[0], words[1]), "a.png", "b.png", "c.png", "d.png")})
			wantError(t, err, fmt.Sprintf("list.csv:2: label: have %q for ", words[0]), `no training image of class "set" is good`)
		})
	}
	f := newFixture(t)
	f.index.Meta.NormalClass = "GOOD"
	for i := range f.index.Train {
		f.index.Train[i].MaskPath = new(string)
	}
	f.write(t)
	cfg := f.config()
	cfg.Format = "realiad_variety"
	_, err := Open(cfg)
	wantError(t, err, `gear.json: label: have "OK"`, `no training image of class "gear" is good`)
}

// TestContaminatedRemark: some defective training images are allowed, and said.
func TestContaminatedRemark(t *testing.T) {
	cfg := configs.Data{Format: "table", Views: 1, Table: "l.csv", Root: lay(t, "l.csv = path,split,label\na.png,train,\nb.png,train,dent\n", "a.png", "b.png")}
	_, remarks := opens(t, cfg)
	wantRemarks(t, remarks, cfg.Root, "training images that are labelled defective: 1 (b.png)")
}

// utf16Of encodes text with a byte order mark.
func utf16Of(order binary.ByteOrder, text string) string {
	var out bytes.Buffer
	_ = binary.Write(&out, order, utf16.Encode([]rune("\ufeff"+text)))
	return out.String()
}

// TestTablesOfWindows: the same set from every way to save its table.
func TestTablesOfWindows(t *testing.T) {
	rows := "path;split;label;mask\r\nBilder/0.png;train;good;\r\nBilder/1.png;test;good;\r\nBilder/2.png;test;Löcher;Masken/2.png\r\n"
	with := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(rows) }
	const want = `
train set/Bilder/0: [Bilder/0.png]
test set/Bilder/1: [Bilder/1.png]
test set/Bilder/2: [Bilder/2.png Löcher Masken/2.png]
`
	for name, tt := range map[string]struct{ table, remark string }{
		"plain":                      {table: rows},
		"byte order mark":            {table: "\ufeff" + rows},
		"backslashes":                {table: with("/", `\`)},
		"dots and doubled slashes":   {table: with("Bilder/", ".//Bilder/./")},
		"absolute paths":             {table: with("Bilder/", "ROOT/Bilder/", "Masken/", "ROOT/x/../Masken/")},
		"rows of separators":         {table: rows + ";;;\r\n ; ;;\r\n", remark: "passed over: empty rows: 2 (l.csv:5)"},
		"empty rows before":          {table: "\r\n;;;\r\n" + rows, remark: "passed over: empty rows: 1 (l.csv:2)"},
		"sep=;":                      {table: "sep=;\r\n" + rows},
		"quoted sep with a mark":     {table: "\ufeff\"SEP=;\"\r\n" + rows},
		"sep with other separators":  {table: "sep=;\n" + with("path;split;label;mask", `path;split;label;mask;"a,b,c,d,e"`, "\r\nB", ";\r\nB", "png\r\n", "png;\r\n"), remark: "error: column \"a,b,c,d,e\""},
		"spaces":                     {table: with(";", " ; ", "\r\n", " \r\n")},
		"quotes and spaces in front": {table: with(";split;", `; "split"; `, "good;", ` "good";`)},
		"capitals":                   {table: with("path;split", "PATH;Split", "train", "Train", "test", "TEST")},
		"training and testing":       {table: with("train", "training", "test", "Testing")},
		"pandas' index":              {table: with("path;", ";path;", "Bilder/", "0;Bilder/")},
		"pandas' index, twice":       {table: with("path;", "Unnamed: 0;path;", "Bilder/", "0;Bilder/")},
		"commas":                     {table: with(";", ",")},
		"tabs":                       {table: with(";", "\t")},
		"UTF-16, little endian":      {table: utf16Of(binary.LittleEndian, with(";", "\t"))},
		"UTF-16, big endian":         {table: utf16Of(binary.BigEndian, rows)},
		"line feeds":                 {table: with("\r", "")},
		"carriage returns":           {table: with("\r\n", "\r")},
		"no end of the last line":    {table: strings.TrimSuffix(rows, "\r\n")},
		"more separators at the end": {table: with("\r\n", ";;\r\n")},
		"decomposed":                 {table: with("ö", "o\u0308"), remark: "NFD"},
	} {
		t.Run(name, func(t *testing.T) {
			root := lay(t, "Bilder/0.png", "Bilder/1.png", "Bilder/2.png", "Masken/2.png")
			writeFile(t, filepath.Join(root, "l.csv"), []byte(strings.ReplaceAll(tt.table, "ROOT", root)))
			set, err := Open(configs.Data{Format: "table", Views: 1, Table: "l.csv", Root: root})
			if phrase, wrong := strings.CutPrefix(tt.remark, "error: "); wrong {
				wantError(t, err, phrase)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if have := canonical("\n" + dump(set, root)); have != want {
				t.Errorf("have %s\nwant %s", have, want)
			}
			if have := strings.ReplaceAll(strings.Join(set.Remarks(), "\n"), root+"/", ""); have != tt.remark && tt.remark != "NFD" {
				t.Errorf("have %q, want %q", have, tt.remark)
			}
		})
	}
}

// TestTableFaults: what cannot be meant is refused in a line that names its place.
func TestTableFaults(t *testing.T) {
	table := configs.Data{Format: "table", Views: 1, Table: "l.csv"}
	for name, tt := range map[string]struct{ text, want string }{
		"a row twice":              {"path,split,label\na.png,train,\na.png,train,\n", `l.csv:3: object "set/a": two images for camera C1`},
		"one image by two paths":   {"path,split,label\na.png,train,\n./a.png,train,\n", `l.csv:3: object "set/a": two images for camera C1`},
		"twins by extension":       {"path,split,label\na.png,train,\na.jpg,train,\n", `l.csv:3: object "set/a": two images for camera C1`},
		"a drive":                  {"path,split,label\nC:\\data\\a.png,train,\n", `l.csv:2: image: have "C:\\data\\a.png", want a path below data.root`},
		"a share":                  {"path,split,label\n\\\\server\\data\\a.png,train,\n", `l.csv:2: image: have "\\\\server\\data\\a.png", want a path below data.root`},
		"an absolute path":         {"path,split,label\n/etc/a.png,train,\n", `l.csv:2: image: have "/etc/a.png", want a path below data.root`},
		"leaving by backslashes":   {"path,split,label\n..\\a.png,train,\n", `l.csv:2: image: have "..\\a.png", want a path below data.root`},
		"no path":                  {"path,split,label\n,train,\n", `l.csv:2: image: have "", want a path below data.root`},
		"a value too many":         {"path,split,label\na.png,train,,x\n", "l.csv: line 2: have 4 values for 3 columns"},
		"a value too many, sep":    {"sep=,\npath,split,label\n\na.png,train,,x\n", "l.csv: line 4: have 4 values for 3 columns"},
		"after a value of lines":   {"path,split,label,object\n\"a\nb.png\",train,,1\na.png,train\n", "l.csv: line 4: have 2 values for 4 columns"},
		"a near column":            {"path,split,label,objekt\na.png,train,,1\n", `column "objekt": is unknown, did you mean "object"?`},
		"a quote in a value":       {"path,split,label\na\"b.png,train,\n", "l.csv: line 2: have a quote inside a value"},
		"a space after a quote":    {"path,split,label\n\"a.png\" ,train,\n", "l.csv: line 2: have a quote inside a value"},
		"cp1252 behind sep":        {"sep=;\r\npath;split;label\r\nGeh\xe4use.png;train;\r\n", "l.csv: line 3: have the byte 0xe4, which is not UTF-8"},
		"a class of two forms":     {"class,path,split,label\nÄ,a.png,train,\nA\u0308,a.png,train,\n", `l.csv:3: object "Ä/a": two images`},
		"a camera of two forms":    {"object,camera,path,split,label\n1,ö,a.png,train,\n1,o\u0308,a.png,train,\n", `l.csv:3: object "set/1": two images for camera C1`},
		"validation":               {"path,split,label\na.png,val,\n", `l.csv:2: split: have "val", want "train" or "test"`},
		"a mask outside":           {"path,split,label,mask\na.png,train,,..\\m.png\n", `l.csv:2: mask: have "..\\m.png", want a path below data.root`},
		"numbers in other letters": {"path,split,label\na.png,train,٠\n", `l.csv:2: label: have "٠"`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := table
			cfg.Root = lay(t, "a.png", "a.jpg")
			writeFile(t, filepath.Join(cfg.Root, "l.csv"), []byte(tt.text))
			_, err := Open(cfg)
			wantError(t, err, tt.want)
		})
	}
}

// TestTableMaskOfGoodImage: a good image may have a mask, for dataset check and eval to compare with its label.
func TestTableMaskOfGoodImage(t *testing.T) {
	cfg := configs.Data{Format: "table", Views: 1, Table: "l.csv", Root: lay(t, "l.csv = path,split,label,mask\na.png,train,ok,m.png\n", "a.png", "m.png")}
	set, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if v := set.Train[0].Views[0]; v.Defective() || v.Mask != filepath.Join(cfg.Root, "m.png") {
		t.Errorf("have %+v, want a good image with a mask", v)
	}
}

// TestBackslashInName: a file with a backslash in its name is found under it.
func TestBackslashInName(t *testing.T) {
	have, _ := opens(t, configs.Data{Format: "table", Views: 1, Table: "l.csv", Root: lay(t, "l.csv = path,split,label\na\\b.png,train,\nc\\d.png,train,\n", `a\b.png`, "c/d.png")})
	if want := "\ntrain set/a\\b: [a\\b.png]\ntrain set/c/d: [c/d.png]\n"; have != want {
		t.Errorf("have %s, want %s", have, want)
	}
}

// TestDecomposedNames: a name that macOS wrote in another normal form is the same name: in tables, indexes, folders,
// masks, classes and data.classes.
func TestDecomposedNames(t *testing.T) {
	const nfc, nfd = "Geh\u00e4use", "Geha\u0308use"
	for i, tt := range []struct {
		cfg   configs.Data
		files []string
		want  string
	}{
		{configs.Data{Format: "table", Table: "l.csv"}, []string{nfd + "/1.png", "m/" + nfd + ".png", "l.csv = path,split,label,mask\n" + nfc + "/1.png,train,good,\n" + nfd + "/1.png,test,x,m/" + nfc + ".png\n"}, ""},
		{configs.Data{Format: "table", Table: nfc + ".csv", Classes: []string{nfd}}, []string{"1.png", nfd + ".csv = class,path,split,label\n" + nfc + ",1.png,train,\n"}, "\ntrain " + nfc + "/1: [1.png]\n"},
		{configs.Data{Format: "folder", Good: "\u00e4", Bad: "bad", Masks: "masks", Classes: []string{nfc}}, []string{nfd + "/a\u0308/1.png", nfd + "/bad/" + nfd + ".png", nfd + "/masks/" + nfc + ".png"},
			"\ntrain " + nfc + "/good/1: [" + nfd + "/a\u0308/1.png]\ntest " + nfc + "/bad/" + nfc + ": [" + nfd + "/bad/" + nfd + ".png bad " + nfd + "/masks/" + nfc + ".png]\n"},
		{configs.Data{Format: "mvtec"}, []string{nfd + "/train/good/1.png", nfd + "/test/" + nfd + "/1.png", nfd + "/ground_truth/" + nfc + "/1_mask.png"},
			"\ntrain " + nfc + "/train/good/1: [" + nfd + "/train/good/1.png]\ntest " + nfc + "/test/" + nfc + "/1: [" + nfd + "/test/" + nfd + "/1.png " + nfc + " " + nfd + "/ground_truth/" + nfc + "/1_mask.png]\n"},
	} {
		tt.cfg.Views, tt.cfg.Root = 1, lay(t, tt.files...)
		if i == 0 { // the same image in both splits, by both forms
			_, err := Open(tt.cfg)
			wantError(t, err, "l.csv:3: ", "is in train and in test")
			continue
		}
		if have, _ := opens(t, tt.cfg); have != tt.want {
			t.Errorf("%d: have %s, want %s", i, have, tt.want)
		}
	}
	f := newFixture(t)
	for i := range f.index.Test {
		e := &f.index.Test[i]
		e.ImagePath = strings.Replace(e.ImagePath, "/S", "/"+nfd, 1)
		if e.MaskPath != nil {
			*e.MaskPath = strings.Replace(*e.MaskPath, "/S", "/"+nfd, 1)
		}
	}
	f.write(t)
	file := filepath.Join(f.root, "jsons", "gear.json")
	data, err := readFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(bytes.ReplaceAll(data, []byte(nfd), []byte(nfc)), []byte("S0002/"), []byte(`S0002\\`))
	writeFile(t, file, append([]byte("\ufeff"), data...))
	set, err := Open(f.config())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range set.Test[1].Views {
		if !strings.Contains(v.Path, nfd) || v.Mask != "" && !strings.Contains(v.Mask, nfd) {
			t.Errorf("have %+v, want the name on disk", v)
		}
	}
	if id := set.Train[1].ID; id != "gear/OK/S0002" {
		t.Errorf("have object %q of backslashes, want gear/OK/S0002", id)
	}
}

// TestSameLooks: names that differ only in their normal form, and cannot both be meant, are shown by code points.
func TestSameLooks(t *testing.T) {
	folder := configs.Data{Format: "folder", Views: 1, Good: "good", Root: lay(t, "good/\u00e4.png", "good/a\u0308.png")}
	_, err := Open(folder)
	wantError(t, err, `good/\u00e4.png"`, `good/a\u0308.png"`)
	folder.Root = lay(t, "\u00e4/good/1.png", "a\u0308/good/1.png")
	_, err = Open(folder)
	wantError(t, err, `class "ä"`, `\u00e4"`, `a\u0308"`, "want it once")
	folder.Root = filepath.Join(lay(t, "a\u0308/good/1.png"), "\u00e4")
	_, err = Open(folder)
	wantError(t, err, "data.root", `\u00e4"`, `a\u0308"`, "looks the same")
}

// TestCheckLabelTwins: one image under two labels, in one split or in both.
func TestCheckLabelTwins(t *testing.T) {
	root := lay(t, "l.csv = path,split,label\na.png,train,\nb.png,test,dent\nc.png,test,\nd.png,test,cut\ne.png,test,cut\n")
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		writeFile(t, filepath.Join(root, name+".png"), pngBytes(t, texture(8, []int{8, 8, 9, 9, 9}[i])))
	}
	set, err := Open(configs.Data{Format: "table", Views: 1, Table: "l.csv", Root: root})
	if err != nil {
		t.Fatal(err)
	}
	found, err := Check(context.Background(), set, Fit{Resize: configs.Square(8), Crop: configs.Square(8)}, checkOptions)
	if err != nil {
		t.Fatal(err)
	}
	wantRemarks(t, found.Classes[0].Findings[LabelTwins], root, "b.png (dent) = a.png (good)", "d.png (cut) = c.png (good)", "e.png (cut) = c.png (good)")
}

// TestNoGoodTestImage: a word for good that is not known makes all test images defective, which is said, but not of a
// class that has a good one, nor of one without test images.
func TestNoGoodTestImage(t *testing.T) {
	root := lay(t, "list.csv = class,path,split,label\ncap,a.png,train,good\ncap,b.png,test,Gut\ncap,c.png,test,Gut\ncap,d.png,test,Kratzer\n"+
		"lid,e.png,train,good\nlid,f.png,test,good\nlid,g.png,test,Gut\nnut,h.png,train,good\n", "a.png", "b.png", "e.png", "f.png", "h.png")
	_, remarks := opens(t, configs.Data{Format: "table", Views: 1, Table: "list.csv", Root: root})
	wantRemarks(t, remarks, root, `class "cap": no good test image; labels: Gut:2 Kratzer:1`)
}

// TestSamePathTwice: the message names both lines, also for a path in two forms.
func TestSamePathTwice(t *testing.T) {
	for _, path := range []string{"a.png", "./a.png"} {
		_, err := Open(configs.Data{Format: "table", Views: 1, Table: "l.csv", Root: lay(t, "a.png", "b.png", "l.csv = path,split,label\nb.png,train,\na.png,train,\n"+path+",train,\n")})
		wantError(t, err, "l.csv:4: ", "two images for camera C1", "the same path as line 3")
	}
}

// TestWordsForNoMask: values that programs write for an empty cell name no mask, unless a file has that name.
func TestWordsForNoMask(t *testing.T) {
	for _, word := range []string{"nan", "NaN", "NA", "N/A", "none", "NULL", "<NA>", "-"} {
		have, _ := opens(t, configs.Data{Format: "table", Views: 1, Table: "l.csv",
			Root: lay(t, "a.png", "b.png", "l.csv = path,split,label,mask\na.png,train,good,"+word+"\nb.png,test,cut,"+word+"\n")})
		if want := "\ntrain set/a: [a.png]\ntest set/b: [b.png cut ]\n"; have != want {
			t.Errorf("%s: have %s, want %s", word, have, want)
		}
	}
	have, _ := opens(t, configs.Data{Format: "table", Views: 1, Table: "l.csv",
		Root: lay(t, "a.png", "b.png", "none", "l.csv = path,split,label,mask\na.png,train,good,\nb.png,test,cut,none\n")})
	if want := "\ntrain set/a: [a.png]\ntest set/b: [b.png cut none]\n"; have != want {
		t.Errorf("have %s, want %s", have, want)
	}
}

// TestPathsThatComeBack: a path that leaves the root and comes back is one below it; one that does not is refused.
func TestPathsThatComeBack(t *testing.T) {
	cfg := configs.Data{Format: "table", Views: 1, Table: "l.csv",
		Root: lay(t, "img/a.png", "b.png", "l.csv = path,split,label\n../set/img/a.png,train,good\nimg/../../set/b.png,test,good\n")}
	have, _ := opens(t, cfg)
	if want := "\ntrain set/img/a: [img/a.png]\ntest set/b: [b.png]\n"; have != want {
		t.Errorf("have %s, want %s", have, want)
	}
	for _, path := range []string{"../other/a.png", "../set", "../set/../a.png", "..", "../settle/a.png"} {
		writeFile(t, filepath.Join(cfg.Root, "l.csv"), []byte("path,split,label\n"+path+",train,good\n"))
		_, err := Open(cfg)
		wantError(t, err, "l.csv:2: ", "want a path below data.root")
	}
}
