package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// TestBadForms sends what is no form of an object. Nothing of it reaches the line.
func TestBadForms(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, metrics.New(), func(o *Options) { o.Body, o.Parts, o.Name = 10_000, 6, 50 })
	raw := func(kind, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/v1/inspect", strings.NewReader(body))
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		return r
	}
	keyed := func(key string) *http.Request {
		r := posted(field{"1", "a", "x"})
		r.Header["Idempotency-Key"] = []string{key}
		return r
	}
	whole, kind := formOf(field{"camera=1", "a.png", strings.Repeat("x", 500)})
	const multi = "multipart/form-data; boundary=b"
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		phrase string
	}{
		{"no type", raw("", "x"), 415, "want multipart/form-data"},
		{"JSON", raw("application/json", "{}"), 415, `have \"application/json\"`},
		{"a type that is none", raw("multipart/form-data; ;;", "x"), 400, "boundary"},
		{"no boundary", raw("multipart/form-data", "x"), 400, "boundary"},
		{"empty boundary", raw(`multipart/form-data; boundary=""`, "x"), 400, "boundary"},
		{"long boundary", raw("multipart/form-data; boundary="+strings.Repeat("b", 71), "x"), 400, "boundary"},
		{"no body", raw(multi, ""), 400, "body: "},
		{"only the end", raw(multi, "--b--\r\n"), 400, "have no image"},
		{"other boundary", raw(multi, "--c\r\n\r\nx\r\n--c--\r\n"), 400, "body: "},
		{"no end", raw(kind, whole.String()[:300]), 400, "body: "},
		{"header without an end", raw(multi, "--b\r\nContent-Disposition: form-data; name=1"), 400, "body: "},
		{"no name", raw(multi, "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"), 400, "without a name"},
		{"header that is none", raw(multi, "--b\r\n: :\r\n\x00\r\n\r\nx\r\n--b--\r\n"), 400, "body: "},
		{"fields alone", posted(field{name: "object", data: "S"}), 400, "have no image"},
		{"unknown part", posted(field{"picture", "a", "x"}), 400, `part \"picture\": have no such camera`},
		{"camera 0", posted(field{"camera=0", "a", "x"}), 400, "no such camera"},
		{"camera above", posted(field{"camera=4", "a", "x"}), 400, `want one of [\"C1\" \"C2\" \"C3\"]`},
		{"camera of many digits", posted(field{"camera=99999999999999999999", "a", "x"}), 400, "no such camera"},
		{"camera without a number", posted(field{"camera=", "a", "x"}), 400, "no such camera"},
		{"curl -F camera=1=@FILE", posted(field{"camera", "", "1=@top.png"}), 400, "with curl -F C1=@FILE"},
		{"camera twice", posted(field{"camera=1", "a", "x"}, field{"C1", "b", "x"}), 400, `second image of camera \"C1\"`},
		{"part twice", posted(field{"1", "a", "x"}, field{"1", "b", "x"}), 400, "two parts of that name"},
		{"class twice", posted(field{"1", "a", "x"}, field{name: "class", data: "a"}, field{name: "class", data: "b"}), 400, "two parts"},
		{"image beside cameras", posted(field{"image", "a", "x"}, field{"1", "b", "x"}), 400, "want it alone"},
		{"many parts", posted(field{"1", "a", "x"}, field{"2", "a", "x"}, field{"3", "a", "x"}, field{"4", "a", "x"}, field{"5", "a", "x"}, field{"6", "a", "x"}, field{"7", "a", "x"}), 413, "more than 6"},
		{"large", posted(field{"1", "a", strings.Repeat("x", 20_000)}), 413, "more than 10000 bytes"},
		{"long class", posted(field{"1", "a", "x"}, field{name: "class", data: strings.Repeat("x", 51)}), 400, "want at most 50"},
		{"long part name", posted(field{strings.Repeat("x", 51), "a", "x"}), 400, "want at most 50"},
		{"NUL in object", posted(field{"1", "a", "x"}, field{name: "object", data: "a\x00b"}), 400, "can be printed"},
		{"line in object", posted(field{"1", "a", "x"}, field{name: "object", data: "a\nb"}), 400, "can be printed"},
		{"direction in object", posted(field{"1", "a", "x"}, field{name: "object", data: "a\u202eb"}), 400, "can be printed"},
		{"object that is no text", posted(field{"1", "a", "x"}, field{name: "object", data: "a\xff"}), 400, "want UTF-8"},
		{"unknown model", posted(field{"1", "a", "x"}, field{name: "model", data: "none"}), 404, `model: have \"none\"`},
		{"path as a model", posted(field{"1", "a", "x"}, field{name: "model", data: "../../etc/passwd"}), 404, "model: "},
		{"NUL in the key", keyed("a\x00"), 400, "Idempotency-Key"},
		{"long key", keyed(strings.Repeat("k", 51)), 400, "Idempotency-Key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := s.do(tt.r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.phrase) {
				t.Errorf("have status %d %s, want %d and %q", w.Code, w.Body, tt.status, tt.phrase)
			}
			if strings.Count(w.Body.String(), "\n") != 1 {
				t.Errorf("have %q, want one line", w.Body)
			}
		})
	}
	if n := f.count.Load(); n != 0 {
		t.Errorf("the line was asked %d times", n)
	}
	if held := s.held.Load(); held != 0 {
		t.Errorf("%d bytes of bodies count as held", held)
	}
}

// TestUnknownLength: a body that does not say how long it is stops at the limit.
func TestUnknownLength(t *testing.T) {
	s := serve(t, newFake(t), metrics.New(), func(o *Options) { o.Body = 10_000 })
	body, kind := formOf(field{"1", "a", strings.Repeat("x", 20_000)})
	r := httptest.NewRequest(http.MethodPost, "/v1/inspect", struct{ *bytes.Buffer }{body})
	r.ContentLength = -1
	r.Header.Set("Content-Type", kind)
	if w := s.do(r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("have status %d %s, want 413", w.Code, w.Body)
	}
}

// TestBadImages gives a real model files that are no images, or not the images they say they are.
func TestBadImages(t *testing.T) {
	s, p := real(t, nil), pngs(t, 1)[0]
	header := p[:16] + "\x00\x01\x00\x00\x00\x01\x00\x00" + p[24:] // 65536 x 65536 pixels
	for name, data := range map[string]string{
		"empty": "", "text": "hello", "truncated": p[:len(p)/2], "only the magic": p[:8], "huge header": header,
		"HTML": "<html><script>alert(1)</script>", "XML": `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>`,
		"zip": "PK\x03\x04", "path": "/etc/passwd", "address": "http://127.0.0.1/", "damaged": p[:60] + "\xff\xff\xff" + p[63:],
	} {
		t.Run(name, func(t *testing.T) {
			record := read[line.Record](t, s.do(posted(field{"image", "a.png", data})), http.StatusUnprocessableEntity)
			if record.Decision != line.Failed || (name == "empty") != strings.Contains(record.Error, "the file is empty") || len(record.Images) != 1 || record.Images[0].Error == "" || record.Error == "" {
				t.Errorf("have %+v", record)
			}
		})
	}
}

// TestFileNames: what a client calls a file is a name in messages, without a path.
func TestFileNames(t *testing.T) {
	for have, want := range map[string]string{
		"a.png": "a.png", "../../etc/passwd": "passwd", `..\..\windows\system32`: "system32", "/etc/shadow": "shadow", "..": "", ".": "",
		"": "", "/": "", "a\x00b\n.png": "ab.png", "ä.png": "ä.png", "\xff.png": "\uFFFD.png", "C:\\a.png": "a.png", "a/": "a",
		strings.Repeat("ä", 80): strings.Repeat("ä", 50),
	} {
		if got := fileName(have); got != want {
			t.Errorf("%q: have %q, want %q", have, got, want)
		}
	}
	f := newFake(t)
	s := serve(t, f, metrics.New(), nil)
	s.do(posted(field{"camera=2", "../../secret.png", "x"}))
	if v := f.last.Object.Views; len(v) != 3 || v[1].Path != "secret.png" || string(v[1].Data) != "x" || v[0].Present() {
		t.Errorf("have %+v", f.last)
	}
	s.do(posted(field{"camera=2", "", ""}))
	if v := f.last.Object.Views; v[1].Path != "C2" || v[1].Data == nil {
		t.Errorf("have %+v, want an image without bytes: its path would be opened", f.last)
	}
}

// TestBadInference sends what is no inference request.
func TestBadInference(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, metrics.New(), func(o *Options) { o.Objects = 4 })
	in := func(fields string) string { return `{"inputs": [{` + fields + `}]}` }
	files := `"name": "files", "datatype": "BYTES", "shape": [1, 1]`
	pixels := `"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 1, 3]`
	for _, tt := range []struct {
		name, head string
		tail       []byte
		status     int
		phrase     string
	}{
		{"no JSON", `{`, nil, 400, "body: "},
		{"array", `[]`, nil, 400, "body: "},
		{"null", `null`, nil, 400, "want one of them"},
		{"no inputs", `{}`, nil, 400, "want one of them"},
		{"inputs of another type", `{"inputs": 3}`, nil, 400, "inputs: have number"},
		{"unknown input", in(`"name": "path", "datatype": "BYTES", "shape": [1], "data": ["/etc/passwd"]`), nil, 400, `have \"path\"`},
		{"twice", `{"inputs": [{` + files + `, "data": [""]}, {` + files + `, "data": [""]}]}`, nil, 400, "files twice"},
		{"both", `{"inputs": [{` + files + `, "data": [""]}, {` + pixels + `, "data": [1,2,3]}]}`, nil, 400, "want one of them"},
		{"class alone", in(`"name": "class", "datatype": "BYTES", "shape": [1], "data": ["a"]`), nil, 400, "want one of them"},
		{"datatype", in(`"name": "images", "datatype": "FP32", "shape": [1, 1, 1, 1, 3], "data": [1, 2, 3]`), nil, 400, "want UINT8"},
		{"axes", in(`"name": "images", "datatype": "UINT8", "shape": [1, 3], "data": [1, 2, 3]`), nil, 400, "have 2 axes, want 5"},
		{"negative", in(`"name": "files", "datatype": "BYTES", "shape": [-1, -1], "data": [""]`), nil, 400, "want sizes from 0"},
		{"overflow", in(`"name": "files", "datatype": "BYTES", "shape": [2147483647, 2147483647], "data": [""]`), nil, 400, "elements"},
		{"beyond int", in(`"name": "files", "datatype": "BYTES", "shape": [9223372036854775808, 1], "data": [""]`), nil, 400, "shape"},
		{"fraction", in(`"name": "files", "datatype": "BYTES", "shape": [1.5, 1], "data": [""]`), nil, 400, "shape"},
		{"no data", in(files), nil, 400, "neither data nor"},
		{"data is null", in(files + `, "data": null`), nil, 400, "data"},
		{"data is a text", in(files + `, "data": ""`), nil, 400, "no array"},
		{"no base64", in(files + `, "data": ["???"]`), nil, 400, "base64"},
		{"numbers for texts", in(files + `, "data": [1]`), nil, 400, "have no string"},
		{"more texts", in(files + `, "data": ["", ""]`), nil, 400, "have 2 elements, want 1"},
		{"more values", in(pixels + `, "data": [1, 2, 3, 4]`), nil, 400, "have 4 elements, want 3"},
		{"fewer values", in(pixels + `, "data": [1, [2]]`), nil, 400, "have 2 elements, want 3"},
		{"value above", in(pixels + `, "data": [1, 2, 256]`), nil, 400, "0 to 255"},
		{"value below", in(pixels + `, "data": [1, 2, -1]`), nil, 400, "0 to 255"},
		{"value of another type", in(pixels + `, "data": [1, 2, "3"]`), nil, 400, "0 to 255"},
		{"value that is an object", in(pixels + `, "data": [1, 2, {"a": [1]}]`), nil, 400, "0 to 255"},
		{"gray", in(`"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3, 1], "data": [1, 2, 3]`), nil, 400, "height, width, 3"},
		{"no pixels", in(`"name": "images", "datatype": "UINT8", "shape": [1, 1, 0, 1, 3], "data": []`), nil, 400, "height, width, 3"},
		{"no objects", in(`"name": "files", "datatype": "BYTES", "shape": [0, 3], "data": []`), nil, 400, "have 0 objects, want 1 to 4"},
		{"many objects", in(`"name": "files", "datatype": "BYTES", "shape": [5, 1], "data": ["","","","",""]`), nil, 400, "have 5 objects, want 1 to 4"},
		{"other views", in(`"name": "files", "datatype": "BYTES", "shape": [1, 2], "data": ["",""]`), nil, 400, "have 2 views, want 3"},
		{"classes of others", `{"inputs": [{` + files + `, "data": [""]}, {"name": "class", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}]}`, nil, 400, "class: have shape [2]"},
		{"NUL in a class", `{"inputs": [{` + files + `, "data": [""]}, {"name": "class", "datatype": "BYTES", "shape": [1], "data": ["\u0000"]}]}`, nil, 400, "can be printed"},
		{"present of files", `{"inputs": [{` + files + `, "data": [""]}, {"name": "present", "datatype": "BOOL", "shape": [1, 1], "data": [true]}]}`, nil, 400, "beside images"},
		{"present is a number", `{"inputs": [{"name": "present", "datatype": "BOOL", "shape": [1, 1], "data": [2]}]}`, nil, 400, "above 1"},
		{"unknown output", `{"inputs": [{` + files + `, "data": [""]}], "outputs": [{"name": "weights"}]}`, nil, 400, `have \"weights\"`},
		{"output twice", `{"inputs": [{` + files + `, "data": [""]}], "outputs": [{"name": "score"}, {"name": "score"}]}`, nil, 400, "each once"},
		{"size above", in(pixels + `, "parameters": {"binary_data_size": 4}`), []byte("abc"), 400, "binary_data_size 4 and 3 bytes"},
		{"size below zero", in(pixels + `, "parameters": {"binary_data_size": -1}`), []byte("abc"), 400, "binary_data_size -1"},
		{"size and data", in(pixels + `, "data": [1,2,3], "parameters": {"binary_data_size": 3}`), []byte("abc"), 400, "no data"},
		{"bytes left", in(pixels + `, "parameters": {"binary_data_size": 3}`), []byte("abcd"), 400, "have 1 bytes behind"},
		{"bytes for another shape", in(pixels + `, "parameters": {"binary_data_size": 4}`), []byte("abcd"), 400, "have 4 bytes, want 3"},
		{"element ends early", in(files + `, "parameters": {"binary_data_size": 6}`), []byte("\x03\x00\x00\x00ab"), 400, "ends too early"},
		{"length above memory", in(files + `, "parameters": {"binary_data_size": 6}`), []byte("\xff\xff\xff\xffab"), 400, "ends too early"},
		{"length alone", in(files + `, "parameters": {"binary_data_size": 3}`), []byte("\x00\x00\x00"), 400, "ends too early"},
		{"BOOL of 2", `{"inputs": [{"name": "present", "datatype": "BOOL", "shape": [1, 1], "parameters": {"binary_data_size": 1}}]}`, []byte{2}, 400, "above 1"},
		{"long id", `{"id": "` + strings.Repeat("x", 201) + `"}`, nil, 400, "id: "},
		{"many inputs", `{"inputs": [` + strings.Repeat(`{"name": "files"},`, 5) + `{}]}`, nil, 400, "have 6, want at most 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if w := s.do(infer("parts", tt.head, tt.tail)); w.Code != tt.status || !strings.Contains(w.Body.String(), tt.phrase) {
				t.Errorf("have status %d %s, want %d and %q", w.Code, w.Body, tt.status, tt.phrase)
			}
		})
	}
	for length, want := range map[string]int{"-1": 400, "99999": 400, "x": 400, "": 415} {
		r := infer("parts", "{}", []byte{})
		r.Header.Set(headerLength, length)
		if w := s.do(r); w.Code != want {
			t.Errorf("header length %q: have status %d, want %d", length, w.Code, want)
		}
	}
	for kind, want := range map[string]int{"": 400, "application/json": 400, "application/JSON; charset=utf-8": 400, "text/plain": 415, "multipart/form-data": 415, ";": 415} {
		r := infer("parts", "{}", nil)
		r.Header.Set("Content-Type", kind)
		if w := s.do(r); w.Code != want {
			t.Errorf("type %q: have status %d, want %d", kind, w.Code, want)
		}
	}
	if n := f.count.Load(); n != 0 {
		t.Errorf("the line was asked %d times", n)
	}
}

// TestPaths asks for addresses that there are not, and in ways that there are not.
func TestPaths(t *testing.T) {
	s := serve(t, newFake(t), metrics.New(), nil)
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/v1/nothing", 404, ""},
		{"GET", "/v1/models/", 404, ""},
		{"GET", "//v1/models", 404, ""},
		{"GET", "/v1/../v1/models", 404, ""},
		{"GET", "/v1/objects/..%2f..%2fetc%2fpasswd", 404, ""},
		{"GET", "/v1/objects/%2e%2e", 404, ""},
		{"GET", "/v1/objects/%00", 404, ""},
		{"GET", "/v1/objects/abc-1/images/1/..%2f..%2fseen.png", 404, ""},
		{"GET", "/v2/models/..%2f..", 404, ""},
		{"DELETE", "/v1/models", 405, "GET, HEAD"},
		{"GET", "/v1/inspect", 405, "POST"},
		{"PUT", "/v2/models/parts/infer", 405, "POST"},
		{"TRACE", "/v2", 405, "GET, HEAD"},
		{"HEAD", "/v1/models", 200, ""},
		{"GET", "/v1/objects?limit=0", 400, ""},
		{"GET", "/v1/objects?limit=501", 400, ""},
		{"GET", "/v1/objects?limit=", 400, ""},
		{"GET", "/v1/objects?limit=1&limit=2", 400, ""},
		{"GET", "/v1/objects?before=nothing", 404, ""},
		{"GET", "/v1/objects?before=", 404, ""},
		{"GET", "/v1/objects?decision=perhaps", 400, ""},
		{"GET", "/v1/objects?class=%00", 400, ""},
		{"GET", "/v1/objects?class=%ff", 400, ""},
		{"GET", "/v1/objects?class=%zz", 400, ""},
		{"GET", "/v1/objects?path=/etc/passwd", 400, ""},
		{"GET", "/v1/summary?hours=169", 400, ""},
		{"GET", "/v1/summary?hours=1e1", 400, ""},
		{"POST", "/v1/models/none/reload", 404, ""},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := s.do(httptest.NewRequest(tt.method, tt.path, nil))
			if w.Code != tt.status || w.Header().Get("Allow") != tt.allow || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("have status %d, Allow %q, %s %s, want %d, %q", w.Code, w.Header().Get("Allow"), w.Header().Get("Content-Type"), w.Body, tt.status, tt.allow)
			}
		})
	}
}

// TestFaults maps what the line says to what is answered.
func TestFaults(t *testing.T) {
	f := newFake(t)
	m := metrics.New()
	s := serve(t, f, m, func(o *Options) { o.Timeout = 20 * time.Millisecond })
	for _, tt := range []struct {
		name   string
		err    error
		status int
		retry  string
	}{
		{"full queue", &line.BusyError{RetryAfter: 2500 * time.Millisecond}, 429, "3"},
		{"unknown class", &line.UnknownError{Message: "class: have"}, 404, ""},
		{"disk full", &line.StoreError{Err: errors.New("journal.db: no space left")}, 503, "5"},
		{"closed", fmt.Errorf("line: %w", line.ErrClosed), 503, "5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.judge = func(context.Context, line.Request) (*line.Judged, error) { return nil, tt.err }
			w := s.do(posted(field{"1", "a", "x"}))
			if w.Code != tt.status || w.Header().Get("Retry-After") != tt.retry || !strings.Contains(w.Body.String(), `{"error":"`) {
				t.Errorf("have status %d, Retry-After %q, %s", w.Code, w.Header().Get("Retry-After"), w.Body)
			}
		})
	}
	f.full = errors.New("journal.db: no space left")
	if w := s.do(httptest.NewRequest(http.MethodGet, "/v2/health/ready", nil)); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "no space left") {
		t.Errorf("ready: have status %d %s", w.Code, w.Body)
	}
	f.judge = func(ctx context.Context, _ line.Request) (*line.Judged, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if w := s.do(posted(field{"1", "a", "x"})); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "took longer") {
		t.Errorf("time over: have status %d %s", w.Code, w.Body)
	}
	f.reload = func() error { return errors.New("parts.safetensors: have no calibration") }
	if w := s.do(httptest.NewRequest(http.MethodPost, "/v1/models/parts/reload", nil)); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "no calibration") {
		t.Errorf("reload: have status %d %s", w.Code, w.Body)
	}
	for name, judge := range map[string]func(context.Context, line.Request) (*line.Judged, error){
		"error": func(context.Context, line.Request) (*line.Judged, error) {
			return nil, errors.New("secret of the device")
		},
		"panic": func(context.Context, line.Request) (*line.Judged, error) {
			var none []int
			return nil, fmt.Errorf("%d", none[0])
		},
	} {
		f.judge = judge
		r, w := posted(field{"1", "a", "x"}), httptest.NewRecorder()
		r.Host = "localhost"
		s.ServeHTTP(w, r)
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") || !strings.Contains(s.log.String(), "a request failed") {
			t.Errorf("%s: have status %d %s, log %s", name, w.Code, w.Body, s.log)
		}
		s.log.Reset()
	}
	if s.held.Load() != 0 {
		t.Errorf("%d bytes of bodies count as held", s.held.Load())
	}
}

// TestBodiesTogether: bodies of several requests share a bound.
func TestBodiesTogether(t *testing.T) {
	f := newFake(t)
	s := serve(t, f, metrics.New(), func(o *Options) { o.Body, o.Bodies = 10_000, 10_000 })
	inside, leave := make(chan struct{}), make(chan struct{})
	f.judge = func(_ context.Context, r line.Request) (*line.Judged, error) {
		inside <- struct{}{}
		<-leave
		return judgedOf(r), nil
	}
	done := make(chan int)
	large := func() *http.Request { return posted(field{"1", "a", strings.Repeat("x", 6000)}) }
	go func() { done <- s.do(large()).Code }()
	<-inside
	if w := s.do(large()); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
		t.Errorf("have status %d %s beside another body, want 429", w.Code, w.Body)
	}
	close(leave)
	if code := <-done; code != http.StatusOK {
		t.Errorf("have status %d, want 200", code)
	}
	go func() { <-inside }()
	if w := s.do(large()); w.Code != http.StatusOK {
		t.Errorf("have status %d afterwards, want 200", w.Code)
	}
}
