package score

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/eval/metric"
	"mvag-torch/internal/safetensors"
)

// array is the content of a .npy file of the type of descr.
func array(descr string, shape []int, values []float64) string {
	dims := strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ", ")
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s,), }", descr, dims)
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0)
	out = append(out, header...)
	var order binary.AppendByteOrder = binary.LittleEndian
	if descr[0] == '>' {
		order = binary.BigEndian
	}
	for _, v := range values {
		switch descr[1:] {
		case "f8":
			out = order.AppendUint64(out, math.Float64bits(v))
		case "f4":
			out = order.AppendUint32(out, math.Float32bits(float32(v)))
		case "f2":
			out = order.AppendUint16(out, safetensors.Float32ToFloat16(float32(v)))
		case "i8", "u8":
			out = order.AppendUint64(out, uint64(int64(v)))
		case "i4":
			out = order.AppendUint32(out, uint32(int32(v)))
		case "u2":
			out = order.AppendUint16(out, uint16(v))
		case "u1", "b1":
			out = append(out, byte(v))
		}
	}
	return string(out)
}

// class is the files of a class: six images of 32 x 32 pixels, the first three defective.
type class struct {
	descr, masksDescr string
	shape             []int
	maps, masks       []float64
	table             []string
}

const rows, edge = 6, 32

// newClass returns maps of five values, of which 0.3 lies within a tie of the false-positive rate.
func newClass() *class {
	c := &class{descr: "<f4", masksDescr: "|b1", shape: []int{rows, edge, edge}, masks: make([]float64, rows*edge*edge)}
	for y := 4; y < 10; y++ {
		for x := 4; x < 12; x++ {
			for i := range 3 {
				c.masks[(i*edge+y)*edge+x] = 1
			}
		}
	}
	for i := range 16 {
		c.masks[(edge+20+i/4%2)*edge+20+i%4] = 1
	}
	c.fill(func(u float64, defective bool) float64 {
		switch {
		case defective:
			return []float64{0, .5, .75, 1}[int(4*u)]
		case u < .05:
			return .5
		}
		return 0
	})
	return c
}

// fill computes the maps from a sequence of pseudorandom fractions.
func (c *class) fill(value func(u float64, defective bool) float64) {
	state := uint64(1)
	c.maps = nil
	for _, m := range c.masks {
		state = (1103515245*state + 12345) % (1 << 31)
		c.maps = append(c.maps, value(float64(state)/(1<<31), m != 0))
	}
}

// score scores the class as the only one of a folder.
func (c *class) score(t *testing.T) (Found, error) {
	t.Helper()
	folder := t.TempDir()
	put(t, filepath.Join(folder, "disc"+MapsSuffix), array(c.descr, c.shape, c.maps))
	put(t, filepath.Join(folder, "disc"+MasksSuffix), array(c.masksDescr, c.shape, c.masks))
	if c.table != nil {
		put(t, filepath.Join(folder, "disc"+TableSuffix), strings.Join(c.table, "\n")+"\n")
	}
	return Folder(t.Context(), folder, Options{Top: 0.01, AuproLimit: 0.3}, func(string, int, int) {})
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func lines(defective, good string) []string {
	return []string{defective, defective, defective, good, good, good}
}

// results are values in percent, NaN where undefined.
type results struct{ image, pixels, ap, f1, aupro float64 }

// TestMapsOfOtherPrograms has what programs write. Values are scikit-learn's and, AUPRO, those of its definition with
// every distinct score as a threshold, computed with NumPy in float64.
func TestMapsOfOtherPrograms(t *testing.T) {
	nan := math.NaN()
	ties := results{100, 85.8179, 56.0773, 65.4867, 75.2102}
	close := results{nan, 85.1345, 7.6813, 15.1654, 50.4894}
	for name, c := range map[string]struct {
		change func(c *class)
		want   results
		notes  []string
	}{
		"ties":           {func(*class) {}, ties, nil},
		"float64":        {func(c *class) { c.descr = "<f8" }, ties, nil},
		"float16":        {func(c *class) { c.descr = "<f2" }, ties, nil},
		"big-endian":     {func(c *class) { c.descr, c.masksDescr = ">f4", ">f8" }, ties, nil},
		"16-bit maps":    {func(c *class) { c.descr = ">u2"; c.scale(60000, 0) }, ties, nil},
		"huge":           {func(c *class) { c.scale(1e30, 0) }, ties, nil},
		"beyond float32": {func(c *class) { c.descr = "<f8"; c.scale(1e300, 0) }, ties, nil},
		"below float32":  {func(c *class) { c.descr = "<f8"; c.scale(1e-300, 0) }, ties, nil},
		"1 + 1e-9 s":     {func(c *class) { c.descr = "<f8"; c.scale(1e-9, 1) }, ties, nil},
		"large integers": {func(c *class) { c.descr = "<i8"; c.scale(4, 1<<50) }, ties, nil},
		"32-bit maps":    {func(c *class) { c.descr = "<i4"; c.scale(4, -1<<30) }, ties, nil},
		"close to 1":     {func(c *class) { c.descr = "<f8"; c.fill(saturated) }, close, nil},
		"close integers": {func(c *class) {
			c.descr = "<i8"
			c.fill(func(u float64, defective bool) float64 { return (saturated(u, defective)-1)*0x1p53 + 1<<52 })
		}, close, nil},
		"int32 masks":     {func(c *class) { c.masksDescr = "<i4" }, ties, nil},
		"masks of 255":    {func(c *class) { c.masksDescr = "|u1"; c.mark(255) }, ties, nil},
		"16-bit masks":    {func(c *class) { c.masksDescr = "<u2"; c.mark(256) }, ties, nil},
		"numbers of 2^63": {func(c *class) { c.masksDescr = "<u8"; c.mark(1 << 62) }, ties, nil},
		"channel second":  {func(c *class) { c.shape = []int{rows, 1, edge, edge} }, ties, nil},
		"channel last":    {func(c *class) { c.shape = []int{rows, edge, edge, 1} }, ties, nil},
		"perfect": {func(c *class) { copy(c.maps, c.masks) }, results{100, 100, 100, 100, 100},
			[]string{"disc: 3 of 6 images have a map that is zero outside of the mask and nowhere in it, first "}},
		"constant":  {func(c *class) { c.scale(0, .3) }, results{50, 50, 2.4740, 4.8285, 15}, nil},
		"one image": {func(c *class) { c.cut(0, 1) }, results{nan, 84.8745, 55.3652, 58.8235, 72.9697}, nil},
		"all good":  {func(c *class) { c.cut(3, 6) }, results{nan, nan, nan, nan, nan}, nil},
		"infinity": {func(c *class) { c.maps[(2*edge+5)*edge+5] = math.Inf(1) }, results{100, 85.8353, 56.5620, 66.0793, 75.2560},
			[]string{`disc: 1 of 6 images have infinite values in the map, first `}},
		"float16 that overflowed": {func(c *class) { c.descr = "<f2"; c.scale(1e5, 0) }, ties,
			[]string{`disc: 3 of 6 images have infinite values in the map, first `}},
		"float64 infinity": {func(c *class) { c.descr = "<f8"; c.scale(1e-9, 1); c.maps[(2*edge+5)*edge+5] = math.Inf(1) },
			results{100, 85.8353, 56.5620, 66.0793, 75.2560}, []string{`disc: 1 of 6 images have infinite values in the map, first `}},
		"whole image": {func(c *class) {
			for i := range c.masks {
				c.masks[i] = float64(1 - i/(3*edge*edge))
			}
		}, results{100, 52.1584, 52.2077, 66.6667, 18.5893}, []string{"disc: 3 of 6 images have a mask that is marked all over"}},
		"soft masks": {func(c *class) {
			c.masksDescr = "<f4"
			for i := range c.masks {
				c.masks[i] = max(c.masks[i], .004)
			}
		}, results{nan, nan, 100, 100, nan}, []string{"disc: 6 of 6 images have a mask that is marked all over", "disc: 6 of 6 images have mask values below 0, between 0 and 1, or more than 16 of them"}},
		"soft masks of 8 bits": {func(c *class) {
			c.masksDescr = "|u1"
			for i, v := range c.masks {
				c.masks[i] = v * float64(1+i%200)
			}
		}, ties, []string{"disc: 3 of 6 images have mask values below 0, between 0 and 1, or more than 16 of them"}},
		"instance numbers": {func(c *class) {
			c.masksDescr = "|u1"
			for i, v := range c.masks {
				c.masks[i] = v * float64(1+i%16)
			}
		}, ties, nil},
		"infinite score": {func(c *class) {
			c.table = lines(`{"score":1}`, `{"score":0}`)
			c.table[0], c.table[5] = `{"score": Infinity}`, `{"score":"-inf"}`
		}, ties, []string{"disc: 2 of 6 images have an infinite score in the table, first "}},
		"an empty label": {func(c *class) { c.table = lines(`{"label":""}`, `{"label":""}`) }, ties, nil},
		"mask of a good label": {func(c *class) { c.table = lines(`{"label":0}`, `{"label":0}`) }, results{nan, ties.pixels, ties.ap, ties.f1, ties.aupro},
			[]string{"disc: 3 of 6 images are labelled good and have a marked mask"}},
		"empty masks": {func(c *class) { c.mark(0); c.table = lines(`{"label":1}`, `{"label":0}`) }, results{100, nan, nan, nan, nan},
			[]string{"disc: 3 of 6 images are labelled defective and have an empty mask"}},
		"no mask of one": {func(c *class) {
			clear(c.masks[:edge*edge])
			c.table = lines(`{"label":1}`, `{"label":0}`)
			c.table[0] = `{"unmasked":true}`
		}, results{100, nan, nan, nan, nan}, []string{"disc: 1 of 6 images are defective without a mask, first "}},
		"label missing in some": {func(c *class) { c.table = lines(`{"label":1}`, `{}`) }, ties,
			[]string{"disc: 3 of 6 images have no label, unlike others, first "}},
		"label NaN":      {func(c *class) { c.table = lines(`{"label": NaN}`, `{"label":null, "score":null}`) }, ties, nil},
		"true and false": {func(c *class) { c.table = lines(`{"label":true}`, `{"label":false}`) }, ties, nil},
		"words":          {func(c *class) { c.table = lines(`{"label":"anomaly"}`, `{"label":" Good "}`) }, ties, nil},
		"defect codes":   {func(c *class) { c.table = lines(`{"label":"dent"}`, `{"label":"OK"}`) }, ties, nil},
		"floats":         {func(c *class) { c.table = lines(`{"label":1.0,"camera":1.0}`, `{"label":0.0,"camera":"2"}`) }, ties, nil},
		"byte order mark, CRLF": {func(c *class) {
			c.table = append(lines("{\"label\":1}\r", "{\"label\":0}\r"), "\r", "")
			c.table[0] = "\ufeff" + c.table[0]
		}, ties, nil},
		"number as object": {func(c *class) { c.table = lines(`{"label":1,"object":17}`, `{"label":0,"object":"18"}`) }, ties, nil},
		"scores as text":   {func(c *class) { c.table = lines(`{"score":"0.5"}`, `{"score":" 7e-1"}`) }, results{0, ties.pixels, ties.ap, ties.f1, ties.aupro}, nil},
		"other members": {func(c *class) {
			c.table = lines(`{"is_anomaly":1,"max":2}`, `{"path":"a","tags":["x"],"class":"disc"}`)
		}, ties,
			[]string{"disc: members of the table that are not read: is_anomaly, tags"}},
		"close scores": {func(c *class) {
			for i := range rows {
				v := 1 - 1e-9*(6-float64(i)) // good
				if i < 3 {
					v = 1 - 1e-9*(.5+float64(i))
				}
				c.table = append(c.table, fmt.Sprintf(`{"score":%.17g}`, v))
			}
		}, results{200. / 3, ties.pixels, ties.ap, ties.f1, ties.aupro}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			x := newClass()
			c.change(x)
			found, err := x.score(t)
			if err != nil {
				t.Fatal(err)
			}
			v := found.Results.Classes[0].Values
			for _, x := range []struct {
				n    metric.Name
				want float64
			}{{metric.ImageAUROC, c.want.image}, {metric.PixelAUROC, c.want.pixels}, {metric.PixelAP, c.want.ap},
				{metric.PixelF1max, c.want.f1}, {metric.AUPRO, c.want.aupro}} {
				have := 100 * v[x.n]
				if !(math.Abs(have-x.want) < 1e-4) && !(have != have && x.want != x.want) && !(name[:5] == "close" && x.n == metric.ImageAUROC && x.want != x.want) {
					t.Errorf("%s: have %v, want %v", x.n, have, x.want)
				}
			}
			if len(found.Notes) != len(c.notes) {
				t.Fatalf("have %q, want %q", found.Notes, c.notes)
			}
			for i, want := range c.notes {
				if !strings.HasPrefix(found.Notes[i], want) || strings.Contains(found.Notes[i], "\n") {
					t.Errorf("have %q, want %s…", found.Notes[i], want)
				}
			}
			if _, err := json.Marshal(found.Results); err != nil {
				t.Error(err)
			}
		})
	}
}

// saturated are the values of a sigmoid near 1, which float32 rounds to 1.
func saturated(u float64, defective bool) float64 {
	width := 4096.
	if defective {
		width = 1200
	}
	return 1 - 0x1p-53*(1+math.Floor(u*width))
}

// scale replaces each value v of the maps by factor*v + add.
func (c *class) scale(factor, add float64) {
	for i, v := range c.maps {
		c.maps[i] = factor*v + add
	}
}

// mark sets the value of defective pixels in the masks.
func (c *class) mark(value float64) {
	for i := range c.masks {
		c.masks[i] *= value
	}
}

// cut keeps some images.
func (c *class) cut(from, to int) {
	c.shape = []int{to - from, edge, edge}
	c.maps, c.masks = c.maps[from*edge*edge:to*edge*edge], c.masks[from*edge*edge:to*edge*edge]
}

// TestFindingsOfResults: what is noticed is in the protocol of results.json.
func TestFindingsOfResults(t *testing.T) {
	c := newClass()
	c.maps[0] = math.Inf(-1)
	c.table = lines(`{"label":0,"score":1,"kind":"x"}`, `{"label":1,"score":2}`)
	found, err := c.score(t)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(found.Results.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"empty_masks":3`, `"infinite_maps":1`, `"good_with_marked_mask":3`, `"defective_with_empty_mask":3`, `"unread":["kind"]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("have %s, want %s", text, want)
		}
	}
}

// TestForeignRefusals: files that cannot be scored are named in one line.
func TestForeignRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *class)
		want   string
	}{
		"NaN":                        {func(c *class) { c.maps[(2*edge+5)*edge+7] = math.NaN() }, `disc.maps.npy row 2": score at row 5, column 7: have NaN, want a number`},
		"NaN of float64":             {func(c *class) { c.descr = "<f8"; c.scale(1, .1); c.maps[(2*edge+5)*edge+7] = math.NaN() }, `score at row 5, column 7: have NaN`},
		"NaN in a mask":              {func(c *class) { c.masksDescr = "<f4"; c.masks[edge*edge] = math.NaN() }, "disc.masks.npy: row 1: have NaN, want a mask"},
		"integers of 2^53":           {func(c *class) { c.descr = "<i8"; c.scale(4, 1<<53) }, ": have integers from 2^53 up, which float64 cannot tell apart"},
		"two images wide":            {func(c *class) { c.shape = []int{rows, edge, edge / 2, 2} }, "have shape [6 32 16 2], want [images, height, width]"},
		"one map":                    {func(c *class) { c.shape = []int{rows * edge, edge} }, "have shape [192 32], want [images, height, width]"},
		"score NaN":                  {func(c *class) { c.table = lines(`{"score": NaN}`, `{"score":1}`) }, `disc.jsonl:1: score: have "NaN", want a number`},
		"score in words":             {func(c *class) { c.table = lines(`{"score":"high"}`, `{"score":1}`) }, `disc.jsonl:1: score: have "high", want a number`},
		"score true":                 {func(c *class) { c.table = lines(`{"score":1}`, `{"score":true}`) }, `disc.jsonl:4: score: have true, want a number`},
		"scores of some":             {func(c *class) { c.table = lines(`{"score":1}`, `{}`) }, `disc.jsonl:4: have a score in some of the lines`},
		"scores of the last":         {func(c *class) { c.table = lines(`{}`, `{"score":1}`) }, `disc.jsonl:4: have a score in some of the lines`},
		"camera 0":                   {func(c *class) { c.table = lines(`{"camera":0}`, `{"camera":1}`) }, `disc.jsonl:1: camera: have 0, want a whole number from 1`},
		"camera by name":             {func(c *class) { c.table = lines(`{"camera":"left"}`, `{}`) }, `disc.jsonl:1: camera: have "left", want a whole number from 1`},
		"label 0.5":                  {func(c *class) { c.table = lines(`{"label":0.5}`, `{}`) }, `disc.jsonl:1: label: have 0.5, want 0 or 1`},
		"a list of labels":           {func(c *class) { c.table = lines(`{"label":[1]}`, `{}`) }, `disc.jsonl:1: label: have [1], want text, a number or a truth value`},
		"an array":                   {func(c *class) { c.table = lines(`[{"label":1},`, `{"label":1},`) }, `disc.jsonl:1: have "[{\"label\":1},", want a JSON object`},
		"CSV":                        {func(c *class) { c.table = lines("label,score", "0,1") }, `disc.jsonl:1: have "label,score", want a JSON object`},
		"an empty line":              {func(c *class) { c.table = append([]string{"{}", ""}, lines("{}", "{}")[2:]...) }, `disc.jsonl:2: have "", want a JSON object`},
		"a member twice":             {func(c *class) { c.table = lines(`{"label":1,"label":0}`, `{}`) }, `disc.jsonl:1: have the members "label" and "label", want one of them`},
		"a member in two cases":      {func(c *class) { c.table = lines(`{"label":1,"Label":0}`, `{}`) }, `disc.jsonl:1: have the members "label" and "Label", want one of them`},
		"more than an object":        {func(c *class) { c.table = lines(`{"label":1} {"label":0}`, `{}`) }, `disc.jsonl:1: have "{\"label\":1} {\"label\":0}", want a JSON object`},
		"null":                       {func(c *class) { c.table = lines("null", "{}") }, `disc.jsonl:1: have "null", want a JSON object`},
		"an empty table":             {func(c *class) { c.table = []string{""} }, `disc.jsonl: have 0 lines, want 6`},
		"unmasked with a mask":       {func(c *class) { c.table = lines(`{"unmasked":true}`, `{}`) }, "\": have a mask with defective pixels, want none as the image is unmasked"},
		"unmasked and good":          {func(c *class) { c.table = lines(`{"label":0,"unmasked":true}`, `{}`) }, "disc.jsonl:1: label: have 0 of an unmasked image"},
		"unmasked in words":          {func(c *class) { c.table = lines(`{"unmasked":"perhaps"}`, `{}`) }, `disc.jsonl:1: unmasked: have "perhaps", want true or false`},
		"objects as Python has them": {func(c *class) { c.descr = "|O" }, "disc.maps.npy: dtype: have Python objects, want numbers"},
	} {
		x := newClass()
		c.change(x)
		_, err := x.score(t)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want one line with %s", name, err, c.want)
		}
	}
}

// TestFolderOfOddFiles: files of no class are named, and a class that lacks a file stops.
func TestFolderOfOddFiles(t *testing.T) {
	c := newClass()
	maps, masks := array(c.descr, c.shape, c.maps), array(c.masksDescr, c.shape, c.masks)
	for name, x := range map[string]struct {
		files map[string]string
		want  string // of the error, "" for none
		note  string
	}{
		"others": {map[string]string{"a.maps.npy": maps, "a.masks.npy": masks, "notes.txt": "", "b.maps.npz": "PK", "b.jsonl": "{}"}, "",
			": 3 files are not read: b.jsonl, b.maps.npz, notes.txt"},
		"many others": {map[string]string{"a.maps.npy": maps, "a.masks.npy": masks, "1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": ""}, "",
			": 7 files are not read: 1, 2, 3, 4, 5 and 2 more"},
		"no masks":       {map[string]string{"a.maps.npy": maps}, "a.masks.npy: have no such file, want the masks of ", ""},
		"no maps":        {map[string]string{"a.maps.npy": maps, "a.masks.npy": masks, "b.masks.npy": masks}, "b.masks.npy: have masks, want b.maps.npy beside them", ""},
		"only npz":       {map[string]string{"a.maps.npz": "PK", "a.png": ""}, "have no file *.maps.npy; have a.maps.npz, a.png", ""},
		"npz as npy":     {map[string]string{"a.maps.npy": "PK\x03\x04 and so on", "a.masks.npy": masks}, "a.maps.npy: have a zip archive (.npz), want .npy", ""},
		"Fortran order":  {map[string]string{"a.maps.npy": strings.Replace(maps, "'fortran_order': False", "'fortran_order': True ", 1), "a.masks.npy": masks}, "a.maps.npy: have Fortran order, want C order (numpy.ascontiguousarray)", ""},
		"0-d":            {map[string]string{"a.maps.npy": strings.Replace(maps, "(6, 32, 32,)", "()          ", 1), "a.masks.npy": masks}, "a.maps.npy: shape: have a scalar, want rows", ""},
		"cut":            {map[string]string{"a.maps.npy": maps[:len(maps)-1], "a.masks.npy": masks}, "a.maps.npy: have 24", ""},
		"masks of other": {map[string]string{"a.maps.npy": maps, "a.masks.npy": array("|b1", []int{5, 32, 32}, c.masks[:5*32*32])}, "a.masks.npy: have shape [5 32 32], want [6 32 32] as ", ""},
		"sizes by class": {map[string]string{"a.maps.npy": maps, "a.masks.npy": masks,
			"b.maps.npy": array("<f4", []int{2, 3, 5}, make([]float64, 30)), "b.masks.npy": array("|b1", []int{2, 3, 5}, make([]float64, 30))}, "", ""},
	} {
		folder := t.TempDir()
		for file, content := range x.files {
			put(t, filepath.Join(folder, file), content)
		}
		found, err := Folder(t.Context(), folder, options, func(string, int, int) {})
		switch {
		case x.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: have %v, want one line with %s", name, err, x.want)
		case x.note != "" && (len(found.Notes) != 1 || !strings.HasSuffix(found.Notes[0], x.note)):
			t.Errorf("%s: have %q, want %s", name, found.Notes, x.note)
		case x.note == "" && len(found.Notes) > 0:
			t.Errorf("%s: have %q", name, found.Notes)
		}
	}
}

// FuzzTable reads any table of three images.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\ufeff{\"object\":\"gear/NG/AK/S0001\",\"camera\":1,\"label\":1,\"defect\":\"AK\",\"score\":0.5}\r\n{\"label\":false,\"score\":\"1\"}\n{\"score\": -Infinity}\n"))
	f.Add([]byte("{\"label\": NaN, \"unmasked\": true}\n{\"label\":[1]}\n{\"x\":null}"))
	f.Add([]byte("{\"path\":\": NaN\",\"camera\":\"2\"}\n{\"LABEL\":\"Good\"}\n{}\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rows := make([]row, 3)
		_, err := parseTable(text, rows)
		if err != nil {
			if message := err.Error(); message[0] != ':' || len(message) > 4096 || strings.Contains(message, "\n") {
				t.Fatalf("have %q, want one short line", message)
			}
			return
		}
		for _, r := range rows {
			if r.Camera < 0 || r.Score != nil && *r.Score != *r.Score || r.Unmasked && r.Label != nil && !*r.Label {
				t.Fatalf("have %+v", r)
			}
		}
	})
}
