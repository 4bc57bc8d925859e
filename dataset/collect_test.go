package dataset

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
)

// chdir creates empty files in a new working directory.
func chdir(t *testing.T, files ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range files {
		writeFile(t, name, nil)
	}
}

// describe formats objects as class:id[camera=file ...].
func describe(c Collected) (list []string) {
	for _, o := range c.Objects {
		text := o.Class + ":" + o.ID + "["
		for i, v := range o.Views {
			if v.Present() {
				text += fmt.Sprintf(" %d/%d=%s", v.Camera+1, len(o.Views), v.Path)
			}
			if v.Camera != i {
				text += " out of place"
			}
		}
		list = append(list, text+" ]")
	}
	for _, r := range c.Rejected {
		list = append(list, fmt.Sprintf("! %s: %v", r.Path, r.Err))
	}
	if text := c.PassedOver.String(); text != "" {
		list = append(list, "passed over: "+text)
	}
	return list
}

func TestCollect(t *testing.T) {
	chdir(t,
		"set/gear/S1/gear_0001_OK_C1_2026.jpg", "set/gear/S1/gear_0001_OK_C2_2026.jpg", "set/gear/S1/gear_0001_OK_C2_2026.png",
		"set/gear/S2/gear_0001_OK_C2_2026.jpg", "set/notes.txt", "set/.hidden.jpg",
		"loose/a.PNG", "loose/b.jpeg",
		"flat/p1_1.jpg", "flat/p1_2.jpg", "flat/p2_2.jpg", "flat/odd.jpg", "many/p_1.png", "many/p_4.png", "many/p_0.png",
		"by/p1/1.png", "by/p1/2.png", "twice/x_1.jpg", "twice/x_1.jpeg",
		"line/a.bmp", "line/b.TIF", "line/c.webp", "line/d.tiff", "line/e.jpg", "line/e.png", "line/f.heic", "line/.git/g.jpg", "line/h.txt",
		"named/p1_left.jpg", "named/p1_right.jpg", "named/p2_top.jpg", "day/p1/left.png", "day/p1/right.png", "day/p1/left.bmp", "1.png", "2.png")
	writeFile(t, "t/named.csv", []byte("\ufeffPATH; camera;Object\r\n../named/p1_left.jpg ;left; p1\r\n../named/p1_right.jpg;2;p1\r\n"))
	named := Naming{Pattern: "{object}_{camera}", Cameras: []string{"left", "right"}}
	writeFile(t, "t/list.csv", []byte("Path,note,object,camera,class\n../flat/p1_1.jpg,x,p,C2,nut\n../flat/p1_2.jpg,x,p,1,nut\n../loose/a.PNG,,,,\n,,q,1,\n../loose/b.jpeg,,,3,\n"))
	if err := os.Symlink("loose", "link"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		opt  CollectOptions
		want []string
	}{
		"Real-IAD's names": {[]string{"set"}, CollectOptions{Classes: []string{"gea", "gear"}}, []string{
			"gear:set/gear/S1/gear_0001_OK[ 1/3=set/gear/S1/gear_0001_OK_C1_2026.jpg 2/3=set/gear/S1/gear_0001_OK_C2_2026.jpg ]",
			"gear:set/gear/S2/gear_0001_OK[ 2/3=set/gear/S2/gear_0001_OK_C2_2026.jpg ]",
			"passed over: masks next to their images: 1 (set/gear/S1/gear_0001_OK_C2_2026.png), hidden files: 1 (set/.hidden.jpg), other files: 1 (set/notes.txt)"}},
		"single images": {[]string{"link", "loose/a.PNG", "loose/a.PNG"}, CollectOptions{Class: "nut"}, []string{
			"nut:link/a.PNG[ 1/1=link/a.PNG ]", "nut:link/b.jpeg[ 1/1=link/b.jpeg ]", "nut:loose/a.PNG[ 1/1=loose/a.PNG ]",
			"passed over: images named twice: 1 (loose/a.PNG)"}},
		"pattern and glob": {[]string{"flat/*"}, CollectOptions{Naming: Naming{Pattern: "{object}_{camera}"}}, []string{
			":flat/p1[ 1/3=flat/p1_1.jpg 2/3=flat/p1_2.jpg ]", ":flat/p2[ 2/3=flat/p2_2.jpg ]",
			`! flat/odd.jpg: have an image "odd.jpg", want names as "{object}_{camera}"`}},
		"folder as object":   {[]string{"by"}, CollectOptions{Naming: Naming{Pattern: "{camera}"}}, []string{":by/p1[ 1/3=by/p1/1.png 2/3=by/p1/2.png ]"}},
		"class in the name":  {[]string{"flat/p1_1.jpg"}, CollectOptions{Naming: Naming{Pattern: "{class}1_{camera}"}}, []string{"p:flat[ 1/3=flat/p1_1.jpg ]"}},
		"object, no camera":  {[]string{"flat/p1_1.jpg", "flat/p1_2.jpg"}, CollectOptions{Naming: Naming{Pattern: "{object}_*"}}, []string{":flat/p1[ 1/1=flat/p1_1.jpg ]", ":flat/p1[ 1/1=flat/p1_2.jpg ]"}},
		"a camera too many":  {[]string{"many"}, CollectOptions{Naming: Naming{Pattern: "{object}_{camera}"}}, []string{":many/p[ 1/3=many/p_1.png ]", `! many/p_0.png: camera: have "0", want a number from 1`, "! many/p_4.png: camera: have C4, want C1 to C3 as there are 3 views"}},
		"two for one camera": {[]string{"twice"}, CollectOptions{Naming: Naming{Pattern: "{object}_{camera}"}}, []string{":twice/x[ 1/3=twice/x_1.jpeg ]", `! twice/x_1.jpg: object "twice/x": two images for camera C1, "twice/x_1.jpeg" and "twice/x_1.jpg"`}},
		"table": {[]string{"t/list.csv"}, CollectOptions{}, []string{
			"nut:p[ 1/3=flat/p1_2.jpg 2/3=flat/p1_1.jpg ]", ":loose/a.PNG[ 1/1=loose/a.PNG ]",
			"! t/list.csv: line 5: have no path", `! loose/b.jpeg: have camera "3" without an object`,
			`passed over: columns that are not used: 1 ("note" in t/list.csv)`}},
		"all kinds that can be read": {[]string{"line"}, CollectOptions{}, []string{
			":line/a.bmp[ 1/1=line/a.bmp ]", ":line/b.TIF[ 1/1=line/b.TIF ]", ":line/c.webp[ 1/1=line/c.webp ]", ":line/d.tiff[ 1/1=line/d.tiff ]",
			":line/e.jpg[ 1/1=line/e.jpg ]",
			"! line/f.heic: cannot be read, want one of .bmp, .dib, .jfif, .jpe, .jpeg, .jpg, .png, .tif, .tiff, .webp",
			"passed over: masks next to their images: 1 (line/e.png), hidden files: 1 (line/.git), other files: 1 (line/h.txt)"}},
		"cameras by name": {[]string{"named"}, CollectOptions{Naming: named}, []string{
			":named/p1[ 1/3=named/p1_left.jpg 2/3=named/p1_right.jpg ]", `! named/p2_top.jpg: camera: have "top", want one of ["left" "right"]`}},
		"table with names and numbers, semicolons, spaces, capitals": {[]string{"t/named.csv"}, CollectOptions{Naming: named}, []string{
			":p1[ 1/3=named/p1_left.jpg 2/3=named/p1_right.jpg ]"}},
		"a folder an object, one extension": {[]string{"day", "flat/odd.jpg"}, CollectOptions{Naming: Naming{"{object}/{camera}.png", named.Cameras}}, []string{
			":day/p1[ 1/3=day/p1/left.png 2/3=day/p1/right.png ]", `! flat/odd.jpg: have an image "flat/odd.jpg", want names as "{object}/{camera}.png"`,
			"passed over: other files: 1 (day/p1/left.bmp)"}},
		"this folder as object": {[]string{"1.png", "2.png"}, CollectOptions{Naming: Naming{Pattern: "{camera}"}}, []string{":.[ 1/3=1.png 2/3=2.png ]"}},
		"one camera": {[]string{"set/gear/S1"}, CollectOptions{Views: 1}, []string{
			":set/gear/S1/gear_0001_OK_C1_2026.jpg[ 1/1=set/gear/S1/gear_0001_OK_C1_2026.jpg ]",
			":set/gear/S1/gear_0001_OK_C2_2026.jpg[ 1/1=set/gear/S1/gear_0001_OK_C2_2026.jpg ]",
			"passed over: masks next to their images: 1 (set/gear/S1/gear_0001_OK_C2_2026.png)"}},
		"standard input": {[]string{"-"}, CollectOptions{Stdin: strings.NewReader("flat/p1_1.jpg\n\n gone.jpg \n")}, []string{
			":flat/p1_1.jpg[ 1/1=flat/p1_1.jpg ]", ":gone.jpg[ 1/1=gone.jpg ]"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.opt.Views = cmp.Or(test.opt.Views, 3)
			found, err := Collect(test.args, test.opt)
			if err != nil {
				t.Fatal(err)
			}
			if have := describe(found); !slices.Equal(have, test.want) {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// TestNaming: Collect groups images as the data set did whose Naming it is given.
func TestNaming(t *testing.T) {
	for name, tt := range map[string]struct {
		pattern string
		files   []string
		cameras []string
	}{
		"names":   {"{object}_{camera}.png", []string{"good/a_left.png", "good/a_right.png", "good/b_right.png"}, []string{"left", "right"}},
		"numbers": {"{object}/{camera}", []string{"good/a/1.png", "good/a/2.png", "good/b/02.png"}, nil},
		"C1, C2":  {"{object}-{camera}-*", []string{"good/a-C1-x.png", "good/a-C2-y.png", "good/b-C2-z.png"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := lay(t, tt.files...)
			set, err := Open(configs.Data{Format: "folder", Root: root, Good: "good", Views: 2, Pattern: tt.pattern})
			if err != nil || set.Naming.Pattern != tt.pattern || !slices.Equal(set.Naming.Cameras, tt.cameras) {
				t.Fatalf("have %+v and error %v, want cameras %q", set, err, tt.cameras)
			}
			found, err := Collect([]string{root}, CollectOptions{Naming: set.Naming, Views: 2})
			if err != nil || len(found.Rejected) > 0 || len(found.Objects) != len(set.Train) {
				t.Fatalf("have %+v and error %v, want %d objects", found, err, len(set.Train))
			}
			for i, o := range found.Objects {
				if !reflect.DeepEqual(o.Views, set.Train[i].Views) {
					t.Errorf("have %+v, want %+v", o.Views, set.Train[i].Views)
				}
			}
		})
	}
}

func TestCollectErrors(t *testing.T) {
	chdir(t, "empty/readme.txt", "nothing.csv", "a.jpg")
	writeFile(t, "head.csv", []byte("file,camera\nx,1\n"))
	writeFile(t, "twice.csv", []byte("path,path\nx,1\n"))
	writeFile(t, "bare.csv", []byte("path\n"))
	writeFile(t, "ragged.csv", []byte("path,class\nx\n"))
	for name, test := range map[string]struct {
		args []string
		opt  CollectOptions
		want string
	}{
		"empty folder":     {[]string{"a.jpg", "empty"}, CollectOptions{}, "empty: have no image in the folder"},
		"no such file":     {[]string{"gone.jpg"}, CollectOptions{}, "gone.jpg"},
		"glob of nothing":  {[]string{"*.bmp"}, CollectOptions{}, "*.bmp: have no such file"},
		"bad glob":         {[]string{"[x"}, CollectOptions{}, "[x: syntax error in pattern"},
		"empty input":      {[]string{"-"}, CollectOptions{Stdin: strings.NewReader("\n")}, "standard input: have no path"},
		"no table":         {[]string{"gone.csv"}, CollectOptions{}, "gone.csv"},
		"empty table":      {[]string{"nothing.csv"}, CollectOptions{}, "nothing.csv: the file is empty"},
		"no path column":   {[]string{"head.csv"}, CollectOptions{}, `column "path": have none in ["file" "camera"]`},
		"two path columns": {[]string{"twice.csv"}, CollectOptions{}, `column "path": have it twice`},
		"no line":          {[]string{"bare.csv"}, CollectOptions{}, "bare.csv: have no rows"},
		"ragged table":     {[]string{"ragged.csv"}, CollectOptions{}, "ragged.csv: line 2: have 1 values for 2 columns"},
		"unknown field":    {[]string{"a.jpg"}, CollectOptions{Naming: Naming{Pattern: "{objekt}_{camera}"}}, `pattern: have "{objekt}_{camera}" in "{objekt}_{camera}", want {object}`},
		"open brace":       {[]string{"a.jpg"}, CollectOptions{Naming: Naming{Pattern: "{object"}}, `have "{object"`},
		"closing brace":    {[]string{"a.jpg"}, CollectOptions{Naming: Naming{Pattern: "object}"}}, `have "}"`},
		"field twice":      {[]string{"a.jpg"}, CollectOptions{Naming: Naming{Pattern: "{object}{object}"}}, "{object} twice"},
		"bytes":            {[]string{"a.jpg"}, CollectOptions{Naming: Naming{Pattern: "\xbd\n{object}"}}, `have "\xbd\n{object}", want UTF-8`},
		"no field":         {[]string{"a.jpg"}, CollectOptions{Naming: Naming{Pattern: "*"}}, `have "*", want {object} or {camera}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Collect(test.args, test.opt)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want one line with %q", err, test.want)
			}
		})
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("{object}_C{camera}_*", "gear_0001_OK_C3_2026.jpg")
	f.Add("{class}-{camera}", "a/b-07.png")
	f.Add("{object}/{camera}.png", "a/b/07.png")
	f.Add("\xbd\n{class}-{camera}", "a.png")
	f.Add("", "x_C99999999999999999999_1.jpg")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		found, err := Collect([]string{"-"}, CollectOptions{Naming: Naming{Pattern: pattern}, Views: 2, Stdin: strings.NewReader(path)})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have several lines: %q", err)
			}
			return
		}
		for _, o := range found.Objects {
			if o.ID == "" || !slices.ContainsFunc(o.Views, View.Present) || len(o.Views) > 2 {
				t.Errorf("have %+v", o)
			}
		}
	})
}

// TestCollectTables: predict and calibrate read the tables and lists that data sets read.
func TestCollectTables(t *testing.T) {
	chdir(t, "p/0.png", "p/1.png", "p/a\u0308.png", "p/l.jpg", "p/r.jpg", `p/odd\name.png`, `"q".png`)
	abs, err := filepath.Abs("p/0.png")
	if err != nil {
		t.Fatal(err)
	}
	named := CollectOptions{Views: 2, Naming: Naming{Cameras: []string{"left", "r\u00fcck"}}}
	two := []string{":p/0.png[ 1/1=p/0.png ]", ":p/1.png[ 1/1=p/1.png ]"}
	for name, tt := range map[string]struct {
		text string
		list bool // given on standard input
		opt  CollectOptions
		want []string
	}{
		"one column":            {text: "path\np/0.png\np/1.png\n", want: two},
		"Windows":               {text: "\ufeffPath;Class\r\np\\0.png;\r\np\\1.png;\r\n;\r\n", want: append(slices.Clone(two), "passed over: empty rows: 1 (t.csv:4)")},
		"sep=":                  {text: "sep=;\r\npath;class\r\np/0.png;\r\np/1.png;\r\n", want: two},
		"UTF-16":                {text: utf16Of(binary.LittleEndian, "path\tclass\r\np/0.png\t\r\np/1.png\t\r\n"), want: two},
		"carriage returns":      {text: "path\rp/0.png\rp/1.png\r", want: two},
		"tabs and quotes":       {text: "path\tclass\n\"p/0.png\"\tcup\n'p/1.png'\tcup\n", want: []string{"cup:p/0.png[ 1/1=p/0.png ]", "cup:p/1.png[ 1/1=p/1.png ]"}},
		"a data set's table":    {text: "path,split,label\np/0.png,train,\np/1.png,train,\n", want: append(slices.Clone(two), `passed over: columns that are not used: 2 ("split" in t.csv)`)},
		"pandas' index":         {text: ",path\n0,p/0.png\n1,p/1.png\n", want: two},
		"composed":              {text: "path\np/\u00e4.png\n", want: []string{":p/a\u0308.png[ 1/1=p/a\u0308.png ]"}},
		"an image twice":        {text: "path\np/0.png\n./p//0.png\np/1.png\n", want: append(slices.Clone(two), "passed over: images named twice: 1 (p/0.png)")},
		"an absolute path":      {text: "path\n" + abs + "\n", want: []string{":" + abs + "[ 1/1=" + abs + " ]"}},
		"a backslash in a name": {text: "path\np/odd\\name.png\n", want: []string{`:p/odd\name.png[ 1/1=p/odd\name.png ]`}},
		"cameras and forms": {text: "path;object;camera\np/1.png;\u00f6;LEFT\np/l.jpg;\u00f6;left\np/r.jpg;o\u0308;ru\u0308ck\n", opt: named, want: []string{
			":\u00f6[ 1/2=p/l.jpg 2/2=p/r.jpg ]", `! p/1.png: camera: have "LEFT", want one of ["left" "rück"]`}},
		"list":                  {list: true, text: "p/0.png\n\np/1.png", want: two},
		"list of Windows":       {list: true, text: "\ufeffp\\0.png\r\n\"p/1.png\"\r\n", want: two},
		"list in UTF-16":        {list: true, text: utf16Of(binary.LittleEndian, "p/0.png\r\np/1.png\r\n"), want: two},
		"list, returns":         {list: true, text: "p/0.png\rp/1.png\r", want: two},
		"list, composed":        {list: true, text: "p/\u00e4.png\n", want: []string{":p/a\u0308.png[ 1/1=p/a\u0308.png ]"}},
		"list, quotes in names": {list: true, text: "\"q\".png\n'./p/0.png'\n", want: []string{`:"q".png[ 1/1="q".png ]`, ":./p/0.png[ 1/1=./p/0.png ]"}},
		"list, other bytes":     {list: true, text: "p/\xff.png\n", want: []string{":p/\xff.png[ 1/1=p/\xff.png ]"}},
	} {
		t.Run(name, func(t *testing.T) {
			arg := "-"
			if tt.opt.Views == 0 {
				tt.opt.Views = 1
			}
			if tt.opt.Stdin = strings.NewReader(tt.text); !tt.list {
				arg = "t.csv"
				writeFile(t, arg, []byte(tt.text))
			}
			found, err := Collect([]string{arg}, tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			if have := describe(found); !slices.Equal(have, tt.want) {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
	for text, want := range map[string]string{
		"path,objekt\np/0.png,1\n":   `t.csv: column "objekt": is unknown, did you mean "object"?`,
		"path,clas\np/0.png,1\n":     `t.csv: column "clas": is unknown, did you mean "class"?`,
		"path\n\"p/0.png\n":          "t.csv: line 2: have a quote inside a value or one that does not end",
		"path,class\np/0.png,\xe4\n": "t.csv: line 2: have the byte 0xe4",
	} {
		writeFile(t, "t.csv", []byte(text))
		_, err := Collect([]string{"t.csv"}, CollectOptions{Views: 1})
		wantError(t, err, want)
	}
}

// TestCollectNames: what names decide beside a pattern.
func TestCollectNames(t *testing.T) {
	chdir(t, "in/0_left.jpg", "in/0_right.jpg", "in/other.jpg", "in/day/0_left.png", "in/Thumbs.db", "away/deep/1_left.jpg", "away/deep/1_right.jpg")
	for from, to := range map[string]string{"in/link": "../away", "in/deep": "../away/deep", "away/back": "../in", "in/self": "."} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	naming := Naming{Pattern: "{object}_{camera}.jpg", Cameras: []string{"left", "right"}}
	for name, tt := range map[string]struct {
		args []string
		opt  CollectOptions
		want []string
	}{
		"two views": {[]string{"in"}, CollectOptions{Naming: naming, Views: 2}, []string{
			":in/0[ 1/2=in/0_left.jpg 2/2=in/0_right.jpg ]", ":in/deep/1[ 1/2=in/deep/1_left.jpg 2/2=in/deep/1_right.jpg ]",
			":in/link/deep/1[ 1/2=in/link/deep/1_left.jpg 2/2=in/link/deep/1_right.jpg ]",
			`! in/other.jpg: have an image "other.jpg", want names as "{object}_{camera}.jpg"`,
			"passed over: hidden files: 1 (in/Thumbs.db), other files: 1 (in/day/0_left.png), circular links: 2 (in/link/back)"}},
		"one view takes any name": {[]string{"in/other.jpg", "in/day"}, CollectOptions{Naming: naming, Views: 1, Class: "\u00e4"}, []string{
			"\u00e4:in/other.jpg[ 1/1=in/other.jpg ]", "\u00e4:in/day/0_left.png[ 1/1=in/day/0_left.png ]"}},
		"a class in another form": {[]string{"in/other.jpg"}, CollectOptions{Views: 1, Class: "a\u0308"}, []string{"\u00e4:in/other.jpg[ 1/1=in/other.jpg ]"}},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := Collect(tt.args, tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			if have := describe(found); !slices.Equal(have, tt.want) {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestCollectMasksOfGlob: a glob that also matches masks next to their images.
func TestCollectMasksOfGlob(t *testing.T) {
	chdir(t, "s/a.JPG", "s/a.png", "s/b.png", "s/b_mask.bmp", "s/c_mask.png", "s/masks/b.png")
	found, err := Collect([]string{"s/*"}, CollectOptions{Views: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{":s/a.JPG[ 1/1=s/a.JPG ]", ":s/b.png[ 1/1=s/b.png ]", ":s/c_mask.png[ 1/1=s/c_mask.png ]",
		"passed over: masks next to their images: 2 (s/a.png), folders of masks: 1 (s/masks)"}
	if have := describe(found); !slices.Equal(have, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// FuzzCollect reads data as a table and as a list.
func FuzzCollect(f *testing.F) {
	f.Add([]byte("path,object,camera\np/0.png,1,2\n"))
	f.Add([]byte("sep=;\r\npath;class;note\r\n\"a\\\u00e4.png\";x;\r\n;;\r\n"))
	f.Add([]byte("\xff\xfep\x00a\x00t\x00h\x00\r\x00'\x00a\x00'\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		t.Chdir(t.TempDir())
		writeFile(t, "t.csv", data)
		writeFile(t, "a\u0308.png", nil)
		for _, views := range []int{1, 2} {
			for _, arg := range []string{"t.csv", "-"} {
				found, err := Collect([]string{arg}, CollectOptions{Views: views, Stdin: bytes.NewReader(data)})
				if err != nil {
					if strings.Contains(err.Error(), "\n") {
						t.Errorf("have several lines: %q", err)
					}
					continue
				}
				if text := found.PassedOver.String(); strings.Contains(text, "\n") {
					t.Errorf("have several lines: %q", text)
				}
				if len(found.Objects)+len(found.Rejected) == 0 {
					t.Errorf("have neither an object nor an error")
				}
				for _, o := range found.Objects {
					if o.ID == "" || !slices.ContainsFunc(o.Views, View.Present) || len(o.Views) > views {
						t.Errorf("have %+v", o)
					}
				}
			}
		}
	})
}

// TestCollectLabels refuses a table whose labels say that images wanted as good ones are defective, by the rules of data
// sets. Where any image will do, labels are named as not used.
func TestCollectLabels(t *testing.T) {
	chdir(t, "a.png", "b.png", "c.png", "d.png")
	for _, tt := range []struct{ name, table, fault string }{
		{"good", "path,label,split\na.png,good,test\nb.png,OK,\nc.png,0,train\nd.png,,\n", ""},
		{"no label", "path,split\na.png,test\nb.png,\nc.png,train\nd.png,\n", ""},
		{"defective", "path,Label\na.png,good\n\nb.png,scratch\nc.png,1\nd.png,good\n", `t.csv:4: label: have "scratch", want good images (` + wantGood + `); rows with such labels: 2`},
		{"a letter", "path;label\na.png;N\n", `t.csv:2: label: have "N", want good images (` + wantGood + `); rows with such labels: 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writeFile(t, "t.csv", []byte(tt.table))
			found, err := Collect([]string{"t.csv"}, CollectOptions{Views: 1, Good: true})
			if tt.fault != "" {
				if err == nil || err.Error() != tt.fault {
					t.Errorf("have %v, want %s", err, tt.fault)
				}
			} else if err != nil || len(found.Objects) != 4 || strings.Contains(found.PassedOver.String(), "label") {
				t.Errorf("have %q, error %v, want 4 good images", describe(found), err)
			}
			found, err = Collect([]string{"t.csv"}, CollectOptions{Views: 1})
			if err != nil || strings.Contains(strings.ToLower(found.PassedOver.String()), `"label"`) != strings.Contains(strings.ToLower(tt.table), "label") {
				t.Errorf("any image: have %q, error %v, want labels as not used", describe(found), err)
			}
		})
	}
}
