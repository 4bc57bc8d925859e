package download

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var content = bytes.Repeat([]byte("0123456789abcdef"), 1<<16)

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// cutWriter ends the connection after left bytes of the body.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, _ := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// server redirects as Hugging Face does, with the SHA-256 in linked, to a second address, which sends content with
// validator (the header's name and value) and cuts the first connections after half of what is requested. It returns
// the address and the headers Range and If-Range of all requests.
func server(t *testing.T, linked string, validator [2]string, cuts int) (url string, requests *[]string) {
	t.Helper()
	requests = new([]string)
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		if linked != "" {
			w.Header().Set("X-Linked-ETag", `"`+linked+`"`)
		}
		http.Redirect(w, r, "/store", http.StatusFound)
	})
	mux.HandleFunc("/store", func(w http.ResponseWriter, r *http.Request) {
		*requests = append(*requests, strings.TrimSpace(r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
		if validator[0] != "" {
			w.Header().Set(validator[0], validator[1])
		}
		if cuts > 0 {
			cuts--
			from := 0
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			w = &cutWriter{w, (len(content) - from) / 2}
		}
		modified, _ := http.ParseTime(w.Header().Get("Last-Modified")) // the zero time if there is none
		http.ServeContent(w, r, "", modified, bytes.NewReader(content))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/file", requests
}

func TestGet(t *testing.T) {
	const (
		monday  = "Mon, 05 Jan 2026 00:00:00 GMT"
		tuesday = "Tue, 06 Jan 2026 00:00:00 GMT"
	)
	half, other := content[:len(content)/2], bytes.Repeat([]byte("x"), 100)
	none, etag := [2]string{}, [2]string{"ETag", `"2"`}
	for name, test := range map[string]struct {
		linked, given string    // SHA-256 that the server sends, and that the caller expects
		server        [2]string // its validator
		kept          []byte    // of an earlier call
		validator     string    // of kept
		cuts          int
		requests      string // in order
		verified      string
		want          string // in the error, "" for none
	}{
		"whole":                            {sum(content), "", etag, nil, "", 0, `[""]`, "the server's", ""},
		"resumed":                          {sum(content), "", etag, half, `"2"`, 0, "[\"bytes=524288- \\\"2\\\"\"]", "the server's", ""},
		"resumed by time":                  {"", "", [2]string{"Last-Modified", monday}, half, monday, 0, `["bytes=524288- ` + monday + `"]`, "", ""},
		"resumed by SHA-256 alone":         {"", sum(content), none, half, "", 0, `["bytes=524288-"]`, "the one given", ""},
		"changed":                          {"", "", etag, other, `"1"`, 0, "[\"bytes=100- \\\"1\\\"\"]", "", ""},
		"changed by time":                  {"", "", [2]string{"Last-Modified", tuesday}, other, monday, 0, `["bytes=100- ` + monday + `"]`, "", ""},
		"changed to a smaller one":         {"", "", etag, append(content, 'x'), `"1"`, 0, "[\"bytes=1048577- \\\"1\\\"\"]", "", ""},
		"of a version not known":           {"", "", etag, other, "", 0, `[""]`, "", ""},
		"complete but unnamed":             {sum(content), "", etag, content, `"2"`, 0, "[\"bytes=1048576- \\\"2\\\"\"]", "the server's", ""},
		"cut twice":                        {"", "", etag, nil, "", 2, "[\"\" \"bytes=524288- \\\"2\\\"\" \"bytes=786432- \\\"2\\\"\"]", "", ""},
		"cut without validator":            {"", "", none, nil, "", 2, `["" "" ""]`, "", ""},
		"cut with a weak validator":        {"", "", [2]string{"ETag", `W/"2"`}, nil, "", 1, `["" ""]`, "", ""},
		"cut without validator, SHA-256":   {sum(content), "", none, nil, "", 1, `["" "bytes=524288-"]`, "the server's", ""},
		"SHA-256 not sent":                 {"", "", none, nil, "", 0, `[""]`, "", ""},
		"SHA-256 given":                    {"", sum(content), none, nil, "", 0, `[""]`, "the one given", ""},
		"another SHA-256":                  {sum(half), "", etag, nil, "", 0, `[""]`, "", "want " + sum(half)},
		"another than given":               {sum(content), sum(half), etag, nil, "", 0, `[""]`, "", "want " + sum(half)},
		"part of another file, no version": {"", sum(content), none, other, "", 0, `["bytes=100-"]`, "", "is removed"},
		"part of a larger file, no version": {"", sum(content), none, append(content, 'x'), "", 0, `["bytes=1048577-"]`, "",
			"run the same command again"},
	} {
		t.Run(name, func(t *testing.T) {
			url, requests := server(t, test.linked, test.server, test.cuts)
			path := filepath.Join(t.TempDir(), "f")
			for suffix, text := range map[string][]byte{".part": test.kept, ".part.validator": []byte(test.validator)} {
				if err := os.WriteFile(path+suffix, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Get(context.Background(), File{URL: url, Path: path, SHA256: test.given, Client: http.DefaultClient})
			if have := fmt.Sprintf("%q", *requests); have != test.requests {
				t.Errorf("have requested %s, want %s", have, test.requests)
			}
			left, _ := os.ReadDir(filepath.Dir(path))
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || len(left) != 0 {
					t.Errorf("have error %v and files %v; want no file and %q", err, left, test.want)
				}
				return
			}
			written, missing := os.ReadFile(path)
			if err != nil || missing != nil || !bytes.Equal(written, content) {
				t.Fatalf("have %v, %v, %d bytes, want the file", err, missing, len(written))
			}
			if want := (Result{sum(content), test.verified, int64(len(content))}); r != want || len(left) != 1 {
				t.Errorf("have %+v and files %v, want %+v and the file alone", r, left, want)
			}
		})
	}
}

func TestGetGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	url, _ := server(t, "", [2]string{"ETag", `"2"`}, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Get(ctx, File{URL: url, Path: path, Client: http.DefaultClient, Progress: func(done, size int64) {
		if done > 600000 {
			cancel()
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "run the same command again to resume") {
		t.Errorf("after an interrupt: have %v", err)
	}
	if kept, err := os.ReadFile(path + ".part"); err != nil || len(kept) < 600000 || !bytes.Equal(kept, content[:len(kept)]) {
		t.Errorf("have %d bytes kept, error %v, want the beginning of the file", len(kept), err)
	}
	missing := httptest.NewServer(http.NotFoundHandler())
	path = filepath.Join(t.TempDir(), "f")
	for _, want := range []string{"404", "refused"} {
		_, err := Get(context.Background(), File{URL: missing.URL, Path: path, Client: http.DefaultClient, Pause: time.Nanosecond})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("have %v, want %q", err, want)
		}
		missing.Close()
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("have %v left, error %v, want nothing", left, err)
	}
}
