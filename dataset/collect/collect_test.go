package collect

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/dataset"
)

// tree makes empty files in a new folder, which becomes the working folder.
func tree(t *testing.T, files ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range files {
		write(t, name, "")
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// describe writes objects as class:id[camera=file ...].
func describe(objects []dataset.Object, rejected []Rejected) (list []string) {
	for _, o := range objects {
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
	for _, r := range rejected {
		list = append(list, fmt.Sprintf("! %s: %v", r.Path, r.Err))
	}
	return list
}

func TestObjects(t *testing.T) {
	tree(t,
		"set/gear/S1/gear_0001_OK_C1_2026.jpg", "set/gear/S1/gear_0001_OK_C2_2026.jpg", "set/gear/S1/gear_0001_OK_C2_2026.png",
		"set/gear/S2/gear_0001_OK_C2_2026.jpg", "set/notes.txt", "set/.hidden.jpg",
		"loose/a.PNG", "loose/b.jpeg",
		"flat/p1_1.jpg", "flat/p1_2.jpg", "flat/p2_2.jpg", "flat/odd.jpg", "many/p_1.png", "many/p_4.png", "many/p_0.png",
		"by/p1/1.png", "by/p1/2.png", "twice/x_1.jpg", "twice/x_1.jpeg")
	write(t, "t/list.csv", "Path,note,object,camera,class\n../flat/p1_1.jpg,x,p,C2,nut\n../flat/p1_2.jpg,x,p,1,nut\n../loose/a.PNG,,,,\n,,q,1,\n../loose/b.jpeg,,,3,\n")
	if err := os.Symlink("loose", "link"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		opt  Options
		want []string
	}{
		"Real-IAD's names": {[]string{"set"}, Options{Classes: []string{"gea", "gear"}}, []string{
			"gear:set/gear/S1/gear_0001_OK[ 1/3=set/gear/S1/gear_0001_OK_C1_2026.jpg 2/3=set/gear/S1/gear_0001_OK_C2_2026.jpg ]",
			"gear:set/gear/S2/gear_0001_OK[ 2/3=set/gear/S2/gear_0001_OK_C2_2026.jpg ]"}},
		"single pictures": {[]string{"link", "loose/a.PNG", "loose/a.PNG"}, Options{Class: "nut"}, []string{
			"nut:link/a.PNG[ 1/1=link/a.PNG ]", "nut:link/b.jpeg[ 1/1=link/b.jpeg ]", "nut:loose/a.PNG[ 1/1=loose/a.PNG ]"}},
		"pattern and glob": {[]string{"flat/*"}, Options{Pattern: "{object}_{camera}"}, []string{
			":flat/p1[ 1/3=flat/p1_1.jpg 2/3=flat/p1_2.jpg ]", ":flat/p2[ 2/3=flat/p2_2.jpg ]",
			`! flat/odd.jpg: name: have "odd.jpg", want it as --pattern "{object}_{camera}"`}},
		"folder as object":   {[]string{"by"}, Options{Pattern: "{camera}"}, []string{":by/p1[ 1/3=by/p1/1.png 2/3=by/p1/2.png ]"}},
		"class in the name":  {[]string{"flat/p1_1.jpg"}, Options{Pattern: "{class}1_{camera}"}, []string{"p:flat[ 1/3=flat/p1_1.jpg ]"}},
		"object, no camera":  {[]string{"flat/p1_1.jpg", "flat/p1_2.jpg"}, Options{Pattern: "{object}_*"}, []string{":flat/p1[ 1/1=flat/p1_1.jpg ]", ":flat/p1[ 1/1=flat/p1_2.jpg ]"}},
		"a camera too many":  {[]string{"many"}, Options{Pattern: "{object}_{camera}"}, []string{":many/p[ 1/3=many/p_1.png ]", `! many/p_0.png: camera: have "0", want a number from 1`, "! many/p_4.png: camera: have C4, want C1 to C3 as the model has 3 views"}},
		"two for one camera": {[]string{"twice"}, Options{Pattern: "{object}_{camera}"}, []string{":twice/x[ 1/3=twice/x_1.jpeg ]", `! twice/x_1.jpg: object "twice/x": have another picture of camera C1, "twice/x_1.jpeg"`}},
		"table": {[]string{"t/list.csv"}, Options{}, []string{
			"nut:p[ 1/3=flat/p1_2.jpg 2/3=flat/p1_1.jpg ]", ":loose/a.PNG[ 1/1=loose/a.PNG ]",
			"! t/list.csv: have a line without a path", `! loose/b.jpeg: have camera "3" without an object`}},
		"standard input": {[]string{"-"}, Options{Stdin: strings.NewReader("flat/p1_1.jpg\n\n gone.jpg \n")}, []string{
			":flat/p1_1.jpg[ 1/1=flat/p1_1.jpg ]", ":gone.jpg[ 1/1=gone.jpg ]"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.opt.Views = 3
			objects, rejected, err := Objects(test.args, test.opt)
			if err != nil {
				t.Fatal(err)
			}
			if have := describe(objects, rejected); !slices.Equal(have, test.want) {
				t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestObjectsErrors(t *testing.T) {
	tree(t, "empty/readme.txt", "nothing.csv", "a.jpg")
	write(t, "head.csv", "file,camera\nx,1\n")
	write(t, "twice.csv", "path,path\nx,1\n")
	write(t, "bare.csv", "path\n")
	write(t, "ragged.csv", "path,class\nx\n")
	for name, test := range map[string]struct {
		args []string
		opt  Options
		want string
	}{
		"empty folder":     {[]string{"a.jpg", "empty"}, Options{}, "empty: have no picture in the folder"},
		"no such file":     {[]string{"gone.jpg"}, Options{}, "gone.jpg"},
		"glob of nothing":  {[]string{"*.bmp"}, Options{}, "*.bmp: have no such file"},
		"bad glob":         {[]string{"[x"}, Options{}, "[x: syntax error in pattern"},
		"empty input":      {[]string{"-"}, Options{Stdin: strings.NewReader("\n")}, "standard input: have no path"},
		"no table":         {[]string{"gone.csv"}, Options{}, "gone.csv"},
		"empty table":      {[]string{"nothing.csv"}, Options{}, "nothing.csv: the table is empty"},
		"no path column":   {[]string{"head.csv"}, Options{}, `have columns ["file" "camera"]`},
		"two path columns": {[]string{"twice.csv"}, Options{}, `column "path" twice`},
		"no line":          {[]string{"bare.csv"}, Options{}, "bare.csv: have no picture in the table"},
		"ragged table":     {[]string{"ragged.csv"}, Options{}, "ragged.csv: record on line 2"},
		"unknown field":    {[]string{"a.jpg"}, Options{Pattern: "{objekt}_{camera}"}, `have "{objekt}_{camera}", want {object}`},
		"open brace":       {[]string{"a.jpg"}, Options{Pattern: "{object"}, `have "{object"`},
		"closing brace":    {[]string{"a.jpg"}, Options{Pattern: "object}"}, `have "}"`},
		"field twice":      {[]string{"a.jpg"}, Options{Pattern: "{object}{object}"}, "{object} twice"},
		"no field":         {[]string{"a.jpg"}, Options{Pattern: "*"}, `have "*", want {object} or {camera}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Objects(test.args, test.opt)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want one line with %q", err, test.want)
			}
		})
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("{object}_C{camera}_*", "gear_0001_OK_C3_2026.jpg")
	f.Add("{class}-{camera}", "a/b-07.png")
	f.Add("", "x_C99999999999999999999_1.jpg")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		p, err := ParsePattern(pattern)
		if err != nil {
			return
		}
		if pic, err := p.match(path); err == nil && (pic.path != path || pic.camera < 0) {
			t.Errorf("have %+v", pic)
		}
	})
}
