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

// server redirects as Hugging Face does, with the SHA-256, to a second
// address, which cuts the first cuts connections after half of what is asked.
func server(t *testing.T, tag string, cuts int) (url string, ranges *[]string) {
	t.Helper()
	ranges = new([]string)
	mux := http.NewServeMux()
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		if tag != "" {
			w.Header().Set("X-Linked-ETag", `"`+tag+`"`)
		}
		http.Redirect(w, r, "/store", http.StatusFound)
	})
	mux.HandleFunc("/store", func(w http.ResponseWriter, r *http.Request) {
		*ranges = append(*ranges, r.Header.Get("Range"))
		if cuts == 0 {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			return
		}
		cuts--
		from := 0
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(content[from : from+(len(content)-from)/2])
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL + "/file", ranges
}

func TestGet(t *testing.T) {
	half := content[:len(content)/2]
	for name, test := range map[string]struct {
		tag, given string
		kept       []byte // of an earlier call
		cuts       int
		ranges     string // asked for, in order
		verified   string
		want       string // in the error, "" for none
	}{
		"whole":                 {sum(content), "", nil, 0, `[""]`, "the server's", ""},
		"resumed":               {sum(content), "", half, 0, `["bytes=524288-"]`, "the server's", ""},
		"complete but unnamed":  {sum(content), "", content, 0, `["bytes=1048576-"]`, "the server's", ""},
		"cut twice":             {sum(content), "", nil, 2, `["" "bytes=524288-" "bytes=786432-"]`, "the server's", ""},
		"SHA-256 not told":      {"", "", nil, 0, `[""]`, "", ""},
		"SHA-256 given":         {"", sum(content), nil, 0, `[""]`, "the one given", ""},
		"another SHA-256":       {sum(half), "", nil, 0, `[""]`, "", "want " + sum(half)},
		"another than given":    {sum(content), sum(half), nil, 0, `[""]`, "", "want " + sum(half)},
		"part of another file":  {sum(content), "", bytes.Repeat([]byte("x"), 100), 0, `["bytes=100-"]`, "", "is removed"},
		"part of a larger file": {sum(content), "", append(content, 'x'), 0, `["bytes=1048577-"]`, "", "run the same command again"},
	} {
		t.Run(name, func(t *testing.T) {
			url, ranges := server(t, test.tag, test.cuts)
			path := filepath.Join(t.TempDir(), "f")
			if test.kept != nil {
				if err := os.WriteFile(path+".part", test.kept, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Get(context.Background(), File{URL: url, Path: path, SHA256: test.given, Client: http.DefaultClient})
			if have := fmt.Sprintf("%q", *ranges); have != test.ranges {
				t.Errorf("have asked for %s, want %s", have, test.ranges)
			}
			written, missing := os.ReadFile(path)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || missing == nil {
					t.Errorf("have error %v, file there: %v; want no file and %q", err, missing == nil, test.want)
				}
				return
			}
			if err != nil || !bytes.Equal(written, content) || r.SHA256 != sum(content) || r.Verified != test.verified || r.Size != int64(len(content)) {
				t.Errorf("have %+v, %v, %d bytes; want verified by %q", r, err, len(written), test.verified)
			}
			if _, err := os.Stat(path + ".part"); err == nil {
				t.Error("the part is still there")
			}
		})
	}
}

func TestGetGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	url, _ := server(t, "", 1000)
	ctx, cancel := context.WithCancel(context.Background())
	got := 0
	_, err := Get(ctx, File{URL: url, Path: path, Client: http.DefaultClient, Progress: func(done, size int64) {
		if got++; done > 600000 {
			cancel()
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "the same command goes on") || got == 0 {
		t.Errorf("after an interrupt: have %v", err)
	}
	if kept, err := os.ReadFile(path + ".part"); err != nil || len(kept) < 600000 || !bytes.Equal(kept, content[:len(kept)]) {
		t.Errorf("have %d bytes kept, error %v, want the beginning of the file", len(kept), err)
	}
	missing := httptest.NewServer(http.NotFoundHandler())
	if _, err := Get(context.Background(), File{URL: missing.URL, Path: path, Client: http.DefaultClient}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("have %v, want the status", err)
	}
	missing.Close()
	path += "2"
	if _, err := Get(context.Background(), File{URL: missing.URL, Path: path, Client: http.DefaultClient}); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("have %v, want a refused connection", err)
	}
	if left, err := filepath.Glob(path + "*"); err != nil || left != nil {
		t.Errorf("have %q left, error %v, want nothing", left, err)
	}
}
