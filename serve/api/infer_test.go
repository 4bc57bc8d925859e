package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mvag-torch/inspect"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// infer is a request with a JSON header and bytes behind it; nil bytes make it plain JSON.
func infer(model string, head any, tail []byte) *http.Request {
	text, ok := head.(string)
	if !ok {
		data, _ := json.Marshal(head)
		text = string(data)
	}
	r := httptest.NewRequest(http.MethodPost, "/v2/models/"+model+"/infer", bytes.NewReader(append([]byte(text), tail...)))
	r.Header.Set("Content-Type", "application/json")
	if tail != nil {
		r.Header.Set("Content-Type", "application/octet-stream")
		r.Header.Set(headerLength, strconv.Itoa(len(text)))
	}
	return r
}

type object = map[string]any

// answered is an answer with its outputs by name, those in bytes decoded.
type answered struct {
	ID      string `json:"id"`
	Outputs []struct {
		Name, Datatype string
		Shape          []int
		Parameters     struct {
			Size int `json:"binary_data_size"`
		}
		Data json.RawMessage
	}
}

// decode reads an answer, whose outputs are []float32, []bool or []string.
func decode(t *testing.T, w *httptest.ResponseRecorder) (answered, map[string]any) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("have status %d %s", w.Code, w.Body)
	}
	data, tail := w.Body.Bytes(), []byte(nil)
	if n := w.Header().Get(headerLength); n != "" {
		size, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		data, tail = data[:size], data[size:]
	}
	var a answered
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	values := map[string]any{}
	for _, o := range a.Outputs {
		var floats []float32
		var bools []bool
		var texts []string
		var err error
		if o.Data != nil {
			switch o.Datatype {
			case "FP32":
				err = json.Unmarshal(o.Data, &floats)
			case "BOOL":
				err = json.Unmarshal(o.Data, &bools)
			case "BYTES":
				err = json.Unmarshal(o.Data, &texts)
			}
			if err != nil {
				t.Fatal(err)
			}
		} else {
			own := tail[:o.Parameters.Size]
			tail = tail[o.Parameters.Size:]
			for len(own) > 0 {
				switch o.Datatype {
				case "FP32":
					floats, own = append(floats, math.Float32frombits(binary.LittleEndian.Uint32(own))), own[4:]
				case "BOOL":
					bools, own = append(bools, own[0] == 1), own[1:]
				case "BYTES":
					n := 4 + binary.LittleEndian.Uint32(own)
					texts, own = append(texts, string(own[4:n])), own[n:]
				}
			}
		}
		values[o.Name] = map[string]any{"FP32": floats, "BOOL": bools, "BYTES": texts}[o.Datatype]
	}
	if len(tail) > 0 {
		t.Errorf("have %d bytes behind the outputs", len(tail))
	}
	return a, values
}

// pixelsOf are the pixels of an image, row by row, red, green and blue.
func pixelsOf(t *testing.T, file string) []byte {
	t.Helper()
	img, _, err := image.Decode(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			out = append(out, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return out
}

// bytesOf is a tensor of BYTES in bytes.
func bytesOf(elements ...string) (out []byte) {
	for _, e := range elements {
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(e))), e...)
	}
	return out
}

// ints makes a JSON array of numbers of bytes.
func ints(data []byte) []int {
	out := make([]int, len(data))
	for i, v := range data {
		out[i] = int(v)
	}
	return out
}

// TestInferAgrees gives two objects in all four ways, as pixels or files, in JSON or bytes, and compares the outputs with
// what POST /v1/inspect says of each.
func TestInferAgrees(t *testing.T) {
	s := real(t, nil)
	var want []line.Record
	var pixels []byte
	var files, encoded []string
	for k := range 2 {
		p := pngs(t, uint64(10+k))
		want = append(want, read[line.Record](t, s.do(posted(field{"1", "a", p[0]}, field{"2", "b", p[1]}, field{"3", "c", p[2]},
			field{name: "class", data: inspecttest.Trained})), http.StatusOK))
		for _, f := range p {
			pixels, files, encoded = append(pixels, pixelsOf(t, f)...), append(files, f), append(encoded, base64.StdEncoding.EncodeToString([]byte(f)))
		}
	}
	class := bytesOf(inspecttest.Trained)
	shape, raw := []int{2, 3, 50, 60, 3}, bytesOf(files...)
	for _, tt := range []struct {
		name string
		r    *http.Request
	}{
		{"pixels in JSON", infer("parts", object{"id": "x", "parameters": object{"class": inspecttest.Trained}, "inputs": []object{
			{"name": "images", "datatype": "UINT8", "shape": shape, "data": ints(pixels)}}}, nil)},
		{"files in JSON", infer("parts", object{"id": "x", "inputs": []object{
			{"name": "files", "datatype": "BYTES", "shape": []int{2, 3}, "data": [][]string{encoded[:3], encoded[3:]}},
			{"name": "class", "datatype": "BYTES", "shape": []int{2}, "data": []string{inspecttest.Trained, inspecttest.Trained}}}}, nil)},
		{"pixels in bytes", infer("parts", object{"id": "x", "parameters": object{"binary_data_output": true}, "inputs": []object{
			{"name": "images", "datatype": "UINT8", "shape": shape, "parameters": object{"binary_data_size": len(pixels)}},
			{"name": "class", "datatype": "BYTES", "shape": []int{1}, "parameters": object{"binary_data_size": len(class)}}}}, append(slices.Clone(pixels), class...))},
		{"files in bytes", infer("parts", object{"id": "x", "parameters": object{"class": inspecttest.Trained}, "inputs": []object{
			{"name": "files", "datatype": "BYTES", "shape": []int{2, 3}, "parameters": object{"binary_data_size": len(raw)}}}}, raw)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, have := decode(t, s.do(tt.r))
			if a.ID != "x" || len(a.Outputs) != len(outputs(3))-1 || have[mapOutput] != nil {
				t.Errorf("have id %q and %d outputs", a.ID, len(a.Outputs))
			}
			for i, r := range want {
				var record line.Record
				if err := json.Unmarshal([]byte(have["record"].([]string)[i]), &record); err != nil || record.Source != line.FromInfer {
					t.Errorf("have record %+v, %v", record, err)
				}
				if record.Verdict.Score != r.Verdict.Score || have["object_score"].([]float32)[i] != float32(r.Verdict.Score) ||
					have["object_calibrated"].([]float32)[i] != float32(r.Verdict.Calibrated) || have["decision"].([]string)[i] != r.Decision ||
					have["object_defective"].([]bool)[i] != (r.Decision == "defective") {
					t.Errorf("object %d: have %v, want %+v", i, have, r.Verdict)
				}
				for j, m := range r.Images {
					if have["score"].([]float32)[3*i+j] != float32(m.Score) || have["defective"].([]bool)[3*i+j] != (m.Decision == "defective") {
						t.Errorf("object %d, image %d: have %v, want %v", i, j, have["score"], m.Score)
					}
				}
			}
		})
	}
}

// TestInferMaps asks for maps alone, of an object with an absent camera.
func TestInferMaps(t *testing.T) {
	s, p := real(t, nil), pngs(t, 5)
	pixels := slices.Concat(pixelsOf(t, p[0]), make([]byte, 50*60*3), pixelsOf(t, p[2]))
	r := infer("parts", object{"outputs": []object{{"name": "map", "parameters": object{"binary_data": true}}, {"name": "score"}}, "inputs": []object{
		{"name": "present", "datatype": "BOOL", "shape": []int{1, 3}, "data": []bool{true, false, true}},
		{"name": "images", "datatype": "UINT8", "shape": []int{1, 3, 50, 60, 3}, "parameters": object{"binary_data_size": len(pixels)}}}}, pixels)
	a, have := decode(t, s.do(r))
	if len(a.Outputs) != 2 || !slices.Equal(a.Outputs[0].Shape, []int{1, 3, 32, 32}) {
		t.Fatalf("have outputs %+v", a.Outputs)
	}
	m, scores := have["map"].([]float32), have["score"].([]float32)
	for j, score := range scores {
		top := slices.Max(m[j*1024:][:1024])
		if (j == 1) != (score == none) || (j == 1) != (top == none) || j != 1 && top < score {
			t.Errorf("image %d: have score %v and a map up to %v", j, score, top)
		}
	}
	single := object{"outputs": []object{{"name": "map"}}, "inputs": []object{{"name": "files", "datatype": "BYTES", "shape": []int{1, 1},
		"data": []string{base64.StdEncoding.EncodeToString([]byte(p[0]))}}}}
	r = infer("parts", single, nil)
	r.Header.Set("Idempotency-Key", "k")
	if a, _ := decode(t, s.do(r)); !slices.Equal(a.Outputs[0].Shape, []int{1, 1, 32, 32}) {
		t.Errorf("have shape %v of a single image", a.Outputs[0].Shape)
	}
	r = infer("parts", `{"outputs": [{"name": "map"}], "inputs": [{"name": "files", "datatype": "BYTES", "shape": [1, 1], "data": [""]}]}`, nil)
	r.Header.Set("Idempotency-Key", "k")
	if w := s.do(r); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("have status %d %s for another object of the same key, want 422", w.Code, w.Body)
	}
	r = infer("parts", single, nil)
	r.Header.Set("Idempotency-Key", "k")
	if w := s.do(r); w.Code != http.StatusConflict {
		t.Errorf("have status %d %s for maps of an object that was judged before, want 409", w.Code, w.Body)
	}
	r = infer("parts", `{"outputs": [{"name": "map"}, {"name": "decision"}, {"name": "object_score"}], "inputs": [{"name": "files", "datatype": "BYTES", "shape": [1, 1], "data": ["bm8="]}]}`, nil)
	if _, have := decode(t, s.do(r)); have["decision"].([]string)[0] != line.Failed || have["object_score"].([]float32)[0] != none {
		t.Errorf("have %v of what is no image", have)
	}
}

func TestInferMetadata(t *testing.T) {
	s := serve(t, newFake(t), metrics.New(), func(o *Options) { o.Version = "1.2" })
	if have := s.get("/v2").Body.String(); have != `{"extensions":["binary_tensor_data"],"name":"mvag-torch","version":"1.2"}`+"\n" {
		t.Errorf("have %s", have)
	}
	type metadata struct {
		Name            string
		Inputs, Outputs []described
	}
	m := read[metadata](t, s.get("/v2/models/parts"), http.StatusOK)
	if m.Name != "parts" || len(m.Inputs) != 5 || !slices.Equal(m.Inputs[0].Shape, []int{-1, 3, -1, -1, 3}) || len(m.Outputs) != 9 {
		t.Errorf("have %+v", m)
	}
	for path, want := range map[string]int{"/v2/models/parts/ready": 200, "/v2/models/none/ready": 404, "/v2/models/none": 404,
		"/v2/health/live": 200, "/v2/health/ready": 200} {
		if w := s.get(path); w.Code != want {
			t.Errorf("%s: have status %d, want %d", path, w.Code, want)
		}
	}
	s.line.(*fake).closed = true
	for path, want := range map[string]int{"/v2/health/live": 200, "/v2/health/ready": 503, "/v2/models/parts/ready": 404} {
		if w := s.get(path); w.Code != want {
			t.Errorf("%s: have status %d when the line is closed, want %d", path, w.Code, want)
		}
	}
}

// TestInferNames: names of objects and classes come as inputs or parameters, one for each or one for all.
func TestInferNames(t *testing.T) {
	var mu sync.Mutex
	var have []string
	f := newFake(t)
	f.judge = func(_ context.Context, r line.Request) (*line.Judged, error) {
		mu.Lock()
		defer mu.Unlock()
		have = append(have, fmt.Sprintf("%s of %s, key %q, %s", r.Object.ID, r.Object.Class, r.Key, r.Object.Views[0].Path))
		return judgedOf(r), nil
	}
	s := serve(t, f, metrics.New(), nil)
	r := infer("parts", `{"parameters": {"class": "gear", "other": [1]}, "inputs": [
		{"name": "files", "datatype": "BYTES", "shape": [2, 1], "data": [["AA=="], ["AA=="]]},
		{"name": "object", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}]}`, nil)
	r.Header.Set("Idempotency-Key", "k")
	decode(t, s.do(r))
	slices.Sort(have)
	if want := []string{`a of gear, key "http:k#0", files[0,0]`, `b of gear, key "http:k#1", files[1,0]`}; !slices.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
}

// TestInferWaits: objects of a request that find no place are tried again while others of it are judged. A request of
// which none finds one is refused.
func TestInferWaits(t *testing.T) {
	places := make(chan struct{}, 2)
	f := newFake(t)
	f.judge = func(ctx context.Context, r line.Request) (*line.Judged, error) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			return nil, &line.BusyError{RetryAfter: 10 * time.Millisecond}
		}
		time.Sleep(5 * time.Millisecond)
		return judgedOf(r), ctx.Err()
	}
	s := serve(t, f, metrics.New(), nil)
	text := `{"inputs": [{"name": "files", "datatype": "BYTES", "shape": [9, 1], "data": [` + strings.Repeat(`"AA==",`, 8) + `"AA=="]}]}`
	if a, have := decode(t, s.do(infer("parts", text, nil))); len(a.Outputs) == 0 || len(have["decision"].([]string)) != 9 {
		t.Errorf("have %+v", have)
	}
	places <- struct{}{}
	places <- struct{}{}
	if w := s.do(infer("parts", text, nil)); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
		t.Errorf("have status %d, Retry-After %q, want 429 and 1", w.Code, w.Header().Get("Retry-After"))
	}
	f.judge = func(context.Context, line.Request) (*line.Judged, error) {
		return nil, &line.StoreError{Err: errors.New("disk full")}
	}
	if w := s.do(infer("parts", text, nil)); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "disk full") {
		t.Errorf("have status %d %s", w.Code, w.Body)
	}
}

// TestMapsAreBounded: maps that would take too much memory are refused before anything is judged.
func TestMapsAreBounded(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, metrics.New(), func(o *Options) { o.Body, o.Bodies = 1<<20, 16<<20 }) // 4 MiB of maps of 512 x 512
	for _, tt := range []struct {
		objects int
		binary  bool
		status  int
	}{{4, true, 200}, {5, true, 413}, {1, false, 200}, {2, false, 413}} {
		head := fmt.Sprintf(`{"inputs": [{"name": "files", "datatype": "BYTES", "shape": [%d, 1], "data": ["AA=="%s]}], "outputs": [{"name": "map", "parameters": {"binary_data": %t}}]}`,
			tt.objects, strings.Repeat(`,"AA=="`, tt.objects-1), tt.binary)
		f.judge = func(_ context.Context, r line.Request) (*line.Judged, error) {
			j := judgedOf(r)
			j.Result = &inspect.Result{}
			return j, nil
		}
		f.count.Store(0)
		w := s.do(infer("parts", head, nil))
		if w.Code != tt.status || (f.count.Load() > 0) != (tt.status == 200) {
			t.Errorf("%d objects, binary %t: have status %d %s after %d were judged", tt.objects, tt.binary, w.Code, w.Body, f.count.Load())
		}
	}
}
