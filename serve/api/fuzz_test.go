package api

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"mvag-torch/serve/metrics"
)

// fuzzed answers a request and holds the answer to the document; a failure of the service is one of the test (do).
func fuzzed(t *testing.T, s *rig, path, kind, length string, body []byte) {
	s.t = t
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	if r.Header["Content-Type"] = []string{kind}; length != "" {
		r.Header[headerLength] = []string{length}
	}
	w := s.do(r)
	if w.Code != http.StatusOK && strings.Count(w.Body.String(), "\n") != 1 {
		t.Errorf("have status %d %q, want one line", w.Code, w.Body)
	}
	if s.held.Load() != 0 {
		t.Errorf("%d bytes of the body count as held", s.held.Load())
	}
}

// toFuzz is a service of low limits.
func toFuzz(f *testing.F) *rig {
	return serve(f, &fake{}, metrics.New(), func(o *Options) { o.Body, o.Bodies, o.Objects = 1<<16, 1<<16, 8 })
}

func FuzzInfer(f *testing.F) {
	s := toFuzz(f)
	const head = `{"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 5}}]}`
	f.Add("application/octet-stream", "108", []byte(head+"\x01\x00\x00\x00x"))
	f.Add("application/json", "", []byte(`{"id": "a", "inputs": [{"name": "files", "datatype": "BYTES", "shape": [1, 3], "data": [["AA==", "", ""]]}], "outputs": [{"name": "record", "parameters": {"binary_data": true}}]}`))
	f.Add("", "", []byte(`{"parameters": {"class": "gear"}, "inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 1, 3], "data": [[[[[1, 2, 3]]]]]}, {"name": "present", "datatype": "BOOL", "shape": [1, 1], "data": [true]}]}`))
	f.Add("application/json", "0", []byte(`{}`))
	f.Fuzz(func(t *testing.T, kind, length string, body []byte) {
		fuzzed(t, s, "/v2/models/parts/infer", kind, length, body)
	})
}

func FuzzForm(f *testing.F) {
	s := toFuzz(f)
	const kind = "multipart/form-data; boundary=b"
	part := func(name, data string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"; filename=\"x.png\"\r\n\r\n" + data + "\r\n"
	}
	f.Add(kind, []byte(part("camera=1", "x")+part("class", "gear")+"--b--\r\n"))
	f.Add(kind, []byte(part("image", "x")+part("object", "ä")+part("model", "parts")+"--b--\r\n"))
	f.Add(kind, []byte("--b\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Disposition: form-data; name=C1\r\n\r\n=00=\r\n--b--"))
	f.Add(`multipart/form-data; boundary*=utf-8''b`, []byte("--b--"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) { fuzzed(t, s, "/v1/inspect", kind, "", body) })
}

// FuzzRoutes holds every route of a service with a real line to the document, whatever the path, the query, the headers
// and the body say.
func FuzzRoutes(f *testing.F) {
	s := real(f, func(o *Options) { o.Body, o.Bodies, o.Objects, o.Hosts = 1<<16, 1<<16, 8, []string{"localhost"} })
	png := append([]byte("--b\r\nContent-Disposition: form-data; name=\"C1\"; filename=\"x.png\"\r\n\r\n"), pngs(f, 1)[0]...)
	for i := range s.routes {
		f.Add(uint8(i), "parts", "", "", "", "application/json", "", []byte(`{"model":"parts","class":"nut"}`))
		f.Add(uint8(i), "../../etc/passwd", "\x00", "model=parts&class=nut&limit=3", "localhost:1", "multipart/form-data; boundary=b", "bytes=0-", png)
	}
	f.Add(uint8(3), "", "", "limit=-1&before=x-1&decision=good;x", "[::1]", "", "gzip, *;q=0", []byte{})
	f.Fuzz(func(t *testing.T, route uint8, first, second, query, host, kind, accept string, body []byte) {
		s.t = t
		method, path, _ := strings.Cut(s.routes[int(route)%len(s.routes)].pattern, " ")
		for _, value := range []string{first, second, first} {
			from, to := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
			if from < 0 {
				break
			}
			path = path[:from] + url.PathEscape(value) + path[to+1:]
		}
		r := httptest.NewRequest(method, "/", bytes.NewReader(body))
		plain, err := url.PathUnescape(path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = &url.URL{Path: plain, RawPath: path, RawQuery: query}
		r.Host = cmp.Or(host, "localhost")
		for name, value := range map[string]string{"Content-Type": kind, "Accept": accept, "Accept-Encoding": accept, "Range": accept,
			"Authorization": accept, "Origin": host, "Last-Event-ID": second, "Cookie": sessionCookie + "=" + query} {
			r.Header[name] = []string{value}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // a stream of events has no end
		defer cancel()
		s.do(r.WithContext(ctx))
		if s.held.Load() != 0 {
			t.Errorf("%d bytes of the body count as held", s.held.Load())
		}
		for _, session := range s.line.AllTaught() { // so that there is room for others
			_ = s.line.Discard(session.ID)
		}
	})
}
