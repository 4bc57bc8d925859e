package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mvag-torch/eval/metric"
)

var undefined = math.NaN()

// ranking has three values that are easy to tell apart.
func ranking(v float64) metric.Ranking {
	return metric.Ranking{AUROC: v, AP: v - 0.125, F1max: v - 0.25}
}

// example has a class with everything, one without anomalous pixels, one without objects of both kinds; the order is
// not that of the alphabet.
func example() Results {
	none := metric.Ranking{AUROC: undefined, AP: undefined, F1max: undefined}
	type protocol struct {
		Views int    `json:"views"`
		Rule  string `json:"rule"`
		Alpha *int   `json:"alpha"`
	}
	pixels := func(r metric.Ranking, aupro float64) metric.PixelRanking {
		return metric.PixelRanking{Ranking: r, AUPRO: aupro}
	}
	return Results{
		Protocol: protocol{Views: 5, Rule: "mask > 0 & \"crop\""},
		Classes: []Class{
			{"gear", metric.NewValues(ranking(1), pixels(ranking(0.75), 0.5), ranking(0.875)), Counts{170, 56, 34, 55}, "", nil, nil},
			{"bottle_cap", metric.NewValues(ranking(0.5), pixels(none, undefined), ranking(0.25)), Counts{10, 0, 2, 0}, "", nil, nil},
			{"änderung", metric.NewValues(ranking(0.25), pixels(ranking(0.3125), 0.0625), none), Counts{15, 3, 3, 3}, "", nil, nil},
		},
	}
}

const exampleTable = `
class       I-AUROC  I-AP  I-F1max  P-AUROC  P-AP  P-F1max  AUPRO   mAD  S-AUROC  S-AP  S-F1max
-----------------------------------------------------------------------------------------------
gear          100.0  87.5     75.0     75.0  62.5     50.0   50.0  71.4     87.5  75.0     62.5
bottle_cap     50.0  37.5     25.0      n/a   n/a      n/a    n/a   n/a     25.0  12.5      0.0
änderung       25.0  12.5      0.0     31.2  18.8      6.2    6.2  14.3      n/a   n/a      n/a
-----------------------------------------------------------------------------------------------
mean           58.3  45.8     33.3     53.1  40.6     28.1   28.1  42.9     56.2  43.8     31.2
mean leaves out undefined values: P-AUROC, P-AP, P-F1max, AUPRO, mAD, S-AUROC, S-AP, S-F1max in 1 of 3 classes
`

const exampleMarkdown = `
| class      | I-AUROC | I-AP | I-F1max | P-AUROC | P-AP | P-F1max | AUPRO |  mAD | S-AUROC | S-AP | S-F1max |
|:-----------|--------:|-----:|--------:|--------:|-----:|--------:|------:|-----:|--------:|-----:|--------:|
| gear       |   100.0 | 87.5 |    75.0 |    75.0 | 62.5 |    50.0 |  50.0 | 71.4 |    87.5 | 75.0 |    62.5 |
| bottle_cap |    50.0 | 37.5 |    25.0 |     n/a |  n/a |     n/a |   n/a |  n/a |    25.0 | 12.5 |     0.0 |
| änderung   |    25.0 | 12.5 |     0.0 |    31.2 | 18.8 |     6.2 |   6.2 | 14.3 |     n/a |  n/a |     n/a |
| mean       |    58.3 | 45.8 |    33.3 |    53.1 | 40.6 |    28.1 |  28.1 | 42.9 |    56.2 | 43.8 |    31.2 |

mean leaves out undefined values: P-AUROC, P-AP, P-F1max, AUPRO, mAD, S-AUROC, S-AP, S-F1max in 1 of 3 classes
`

const exampleCSV = `
class,I-AUROC,I-AP,I-F1max,P-AUROC,P-AP,P-F1max,AUPRO,mAD,S-AUROC,S-AP,S-F1max
gear,1,0.875,0.75,0.75,0.625,0.5,0.5,0.7142857142857143,0.875,0.75,0.625
bottle_cap,0.5,0.375,0.25,,,,,,0.25,0.125,0
änderung,0.25,0.125,0,0.3125,0.1875,0.0625,0.0625,0.14285714285714285,,,
mean,0.5833333333333334,0.4583333333333333,0.3333333333333333,0.53125,0.40625,0.28125,0.28125,0.4285714285714286,0.5625,0.4375,0.3125
`

// exampleJSON is the file with runs of white space made one space.
const exampleJSON = `{ "protocol": { "views": 5, "rule": "mask > 0 & \"crop\"", "alpha": null }, "classes": { ` +
	`"gear": { "I-AUROC": 1, "I-AP": 0.875, "I-F1max": 0.75, "P-AUROC": 0.75, "P-AP": 0.625, "P-F1max": 0.5, "AUPRO": 0.5, ` +
	`"mAD": 0.7142857142857143, "S-AUROC": 0.875, "S-AP": 0.75, "S-F1max": 0.625, ` +
	`"images": 170, "defective": 56, "objects": 34, "masks": 55 }, ` +
	`"bottle_cap": { "I-AUROC": 0.5, "I-AP": 0.375, "I-F1max": 0.25, "P-AUROC": null, "P-AP": null, "P-F1max": null, "AUPRO": null, ` +
	`"mAD": null, "S-AUROC": 0.25, "S-AP": 0.125, "S-F1max": 0, ` +
	`"images": 10, "defective": 0, "objects": 2, "masks": 0 }, ` +
	`"änderung": { "I-AUROC": 0.25, "I-AP": 0.125, "I-F1max": 0, "P-AUROC": 0.3125, "P-AP": 0.1875, "P-F1max": 0.0625, "AUPRO": 0.0625, ` +
	`"mAD": 0.14285714285714285, "S-AUROC": null, "S-AP": null, "S-F1max": null, ` +
	`"images": 15, "defective": 3, "objects": 3, "masks": 3 } }, ` +
	`"mean": { "I-AUROC": 0.5833333333333334, "I-AP": 0.4583333333333333, "I-F1max": 0.3333333333333333, "P-AUROC": 0.53125, ` +
	`"P-AP": 0.40625, "P-F1max": 0.28125, "AUPRO": 0.28125, "mAD": 0.4285714285714286, "S-AUROC": 0.5625, "S-AP": 0.4375, "S-F1max": 0.3125 } }`

func render(t *testing.T, r Results, format string) string {
	t.Helper()
	var out strings.Builder
	if err := Table(&out, r, format); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTable(t *testing.T) {
	for format, want := range map[string]string{
		"table": exampleTable, "markdown": exampleMarkdown, "csv": exampleCSV,
	} {
		if have := "\n" + render(t, example(), format); have != want {
			t.Errorf("%s: have%s\nwant%s", format, have, want)
		}
	}
	if have := strings.Join(strings.Fields(render(t, example(), "json")), " "); have != exampleJSON {
		t.Errorf("json: have %s\nwant %s", have, exampleJSON)
	}
}

func TestTableWithoutGaps(t *testing.T) {
	r := example()
	r.Classes = r.Classes[:1]
	for _, format := range []string{"table", "markdown"} {
		if s := render(t, r, format); strings.Contains(s, "n/a") || strings.Contains(s, "leaves out") {
			t.Errorf("%s: have a note, want none:\n%s", format, s)
		}
	}
	r.Classes[0].Name = "a|b"
	if s := render(t, r, "markdown"); !strings.Contains(s, `| a\|b  |`) {
		t.Errorf("have an unescaped bar:\n%s", s)
	}
}

func TestTableWithoutClasses(t *testing.T) {
	for _, format := range []string{"table", "markdown"} {
		if s := render(t, Results{}, format); strings.Count(s, "n/a") != int(metric.Count) || strings.Contains(s, "leaves out") {
			t.Errorf("%s: want a mean without values:\n%s", format, s)
		}
	}
}

func TestNoteTellsCountsApart(t *testing.T) {
	r := example()
	r.Classes[0].Values[metric.AUPRO] = undefined
	r.Classes[2].Values[metric.AUPRO] = undefined
	const want = "mean leaves out undefined values: " +
		"P-AUROC, P-AP, P-F1max, mAD, S-AUROC, S-AP, S-F1max in 1 of 3 classes; AUPRO in 3 of 3 classes"
	if have := note(r); have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}

// broken is a writer on a full disk.
type broken struct{}

var errFull = errors.New("full")

func (broken) Write([]byte) (int, error) { return 0, errFull }

func TestTableErrors(t *testing.T) {
	for _, format := range []string{"", "tex", "CSV"} {
		err := Table(&bytes.Buffer{}, example(), format)
		if err == nil || !strings.HasSuffix(err.Error(), "want table, markdown, latex, csv or json") ||
			!strings.Contains(err.Error(), `"`+format+`"`) {
			t.Errorf("%q: have %v, want the format and the list", format, err)
		}
	}
	if err := Table(broken{}, example(), "table"); !errors.Is(err, errFull) {
		t.Errorf("have %v, want the error of the writer", err)
	}
	twice := example()
	twice.Classes[2].Name = "gear"
	if err := Table(&bytes.Buffer{}, twice, "json"); err == nil || !strings.Contains(err.Error(), `class "gear": have it twice`) {
		t.Errorf("have %v, want the name of the class", err)
	}
	for what, r := range map[string]Results{
		"protocol":  {Protocol: func() {}},
		`class "c"`: {Classes: []Class{{Name: "c", Values: metric.Values{metric.ImageAP: math.Inf(1)}}}},
	} {
		if err := Table(&bytes.Buffer{}, r, "json"); err == nil || !strings.HasPrefix(err.Error(), what+": ") {
			t.Errorf("have %v, want an error of %s", err, what)
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "results.json")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, example()); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range example().Classes {
		if c := r.Classes[i]; c.Name != want.Name || c.Counts != want.Counts || !slices.EqualFunc(c.Values[:], want.Values[:], equal) {
			t.Errorf("have %+v, want %+v", c, want)
		}
	}
	if err := Write(path, r); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("written again: have %s, %v, want %s", second, err, first)
	}
	only(t, dir, "results.json")
}

func equal(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// only fails if dir has another file than name.
func only(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("have %v, %v, want only %s", entries, err, name)
	}
}

func TestWriteErrorsLeaveNothingBehind(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "results.json")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	twice := example()
	twice.Classes[1].Name = "gear"
	for _, c := range []struct {
		name, path string
		results    Results
	}{
		{"path is a folder", folder, example()},
		{"no folder", filepath.Join(dir, "none", "results.json"), example()},
		{"bad results", filepath.Join(dir, "new.json"), twice},
	} {
		err := Write(c.path, c.results)
		if err == nil || !strings.HasPrefix(err.Error(), c.path+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want one line that names the path", c.name, err)
		}
		only(t, dir, "results.json")
	}
}

func TestReadErrors(t *testing.T) {
	good := render(t, example(), "json")
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	cases := []struct{ name, data, want string }{
		{"empty", "", "unexpected end of JSON input"},
		{"truncated", good[:len(good)/2], "unexpected end of JSON input"},
		{"trailing", good + "{}", "invalid character '{' after top-level value"},
		{"not an object", "[1,\n2]", `have "[1,\n2]", want an object`},
		{"number", "1", `have "1", want an object`},
		{"no results", `{"accuracy": 1}`, `have members ["accuracy"], want "classes"`},
		{"member twice", `{"protocol": 1, "protocol": 2}`, `"protocol": have it twice, want it once`},
		{"class twice", replace(`"bottle_cap"`, `"gear"`), `"classes": "gear": have it twice, want it once`},
		{"class no object", `{"classes": {"gear": 3}}`, `"classes": "gear": `},
		{"metric twice", replace(`"AUPRO": 0.5,`, `"AUPRO": 0.5, "AUPRO": 1,`), `"classes": "gear": "AUPRO": have it twice`},
		{"percent", replace(`"AUPRO": 0.5,`, `"AUPRO": 50,`), `"classes": "gear": AUPRO: have 50, want a fraction`},
		{"negative", replace(`"AUPRO": 0.5,`, `"AUPRO": -0.5,`), `"classes": "gear": AUPRO: have -0.5, want a fraction`},
		{"too large", replace(`"AUPRO": 0.5,`, `"AUPRO": 1e999,`), `"classes": "gear": AUPRO: `},
		{"no number", replace(`"AUPRO": 0.5,`, `"AUPRO": [0.5],`), `"classes": "gear": AUPRO: `},
		{"count fraction", replace(`34`, `3.5`), `"classes": "gear": "objects": `},
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "results.json")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.data), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Read(path)
			if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("have %v, want one line with the path and %s", err, c.want)
			}
		})
	}
	missing := filepath.Join(dir, "none.json")
	if _, err := Read(missing); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("have %v, want the path", err)
	}
}

// TestReadOtherVersions reads results without a metric of this version, with one of another, and with counts of
// pictures.
func TestReadOtherVersions(t *testing.T) {
	text := strings.NewReplacer(`"AUPRO": 0.5,`, `"PRO@0.05": 0.4,`, `"images"`, `"pictures"`, `"mean"`, `"means"`).Replace(render(t, detailed(), "json"))
	path := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	gear, want := r.Classes[0], example().Classes[0]
	if !slices.Equal(r.Unknown, []string{"PRO@0.05", "means"}) || gear.Counts != want.Counts {
		t.Errorf("have unknown %q, counts %+v, want %+v", r.Unknown, gear.Counts, want.Counts)
	}
	for n, v := range gear.Values {
		if missing := metric.Name(n) == metric.AUPRO; missing != math.IsNaN(v) || !missing && v != want.Values[n] {
			t.Errorf("%v: have %v, want %v", metric.Name(n), v, want.Values[n])
		}
	}
	if have := render(t, r, "csv"); !strings.Contains(have, "\ngear,1,0.875,0.75,0.75,0.625,0.5,,0.71") {
		t.Errorf("have %s", have)
	}
}

func FuzzResults(f *testing.F) {
	data, err := encode(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"mean": {}, "classes": {"\u0000": {}}, "protocol": [1e400]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Results
		if json.Unmarshal(data, &r) != nil {
			return
		}
		first, err := encode(r)
		if err != nil {
			t.Fatalf("%q: read, but not written: %v", data, err)
		}
		var again Results
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatalf("%s: written, but not read: %v", first, err)
		}
		if second, err := encode(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("have %s, %v, want %s", second, err, first)
		}
		for _, format := range []string{"table", "markdown", "csv"} {
			if err := Table(&bytes.Buffer{}, r, format); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestHeads has a class that is also judged by memory and both, and one that was enrolled.
func TestHeads(t *testing.T) {
	value := func(v float64) (values metric.Values) {
		for i := range values {
			values[i] = v
		}
		return values
	}
	r := Results{Classes: []Class{
		{Name: "gear", Values: value(0.5), Heads: map[string]metric.Values{"memory": value(0.75), "both": value(1)}},
		{Name: "nut", Values: value(0.25), Head: "memory"},
	}}
	var out bytes.Buffer
	if err := Table(&out, r, "table"); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(out.String()) {
		if fields := strings.Split(strings.TrimSpace(line), "  "); len(fields) > 5 {
			rows = append(rows, fields[0]+" "+fields[len(fields)-1])
		}
	}
	want := []string{"class S-F1max", "gear 50.0", "nut 25.0", "mean 37.5", "mean, memory 50.0", "mean, both 62.5"}
	for i, row := range rows {
		rows[i] = strings.Join(strings.Fields(row), " ")
	}
	if !slices.Equal(rows, want) || !strings.Contains(out.String(), "judged by memory alone, as the model was not trained on them: nut\n") {
		t.Errorf("have rows %q, want %q, in\n%s", rows, want, out.String())
	}
	path := filepath.Join(t.TempDir(), "results.json")
	if err := Write(path, r); err != nil {
		t.Fatal(err)
	}
	read, err := Read(path)
	if err != nil || len(read.Unknown) > 0 || !reflect.DeepEqual(read.Classes, r.Classes) {
		t.Errorf("have %+v, error %v, want what was written", read, err)
	}
}
