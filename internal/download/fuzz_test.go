package download

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answers is a server that gives the same answer to each request.
type answers struct {
	status int
	header http.Header
	length int64
	body   []byte
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Header: a.header.Clone(), ContentLength: a.length,
		Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

// FuzzGet holds that whatever a server says, and whatever lies there of an earlier attempt, a file has its name only
// with the SHA-256 that was wanted; else the error is one line.
func FuzzGet(f *testing.F) {
	body := []byte("the whole file")
	f.Add(200, "", `"tag"`, "", int64(-1), body, []byte("the"), `"tag"`)
	f.Add(206, "bytes 3-13/14", "", "", int64(11), body[3:], body[:3], "yesterday")
	f.Add(206, "bytes 3-99/4", "", "", int64(11), body[3:], body[:3], "")
	f.Add(206, "bytes 3-3/*", "W/x", "", int64(0), body[3:], body[:3], "x\ny")
	f.Add(416, "bytes */14", "", "", int64(0), []byte{}, body, `"tag"`)
	f.Add(302, "", "", "http://", int64(0), []byte{}, []byte{}, "")
	f.Add(503, "", "", "", int64(0), []byte{}, []byte{}, "")
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, status int, contentRange, tag, location string, length int64, said, part []byte, validator string) {
		path := filepath.Join(folder, "file")
		_ = os.Remove(path)
		for name, text := range map[string][]byte{path + ".part": part, path + ".part.validator": []byte(validator)} {
			if err := os.WriteFile(name, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		header := http.Header{"Content-Range": {contentRange}, "Etag": {tag}, "X-Linked-Etag": {tag}, "Location": {location}}
		client := &http.Client{Transport: answers{status, header, length, said}}
		_, err := Get(t.Context(), File{URL: "http://host/file", Path: path, SHA256: sum(body), Client: client})
		have, absent := os.ReadFile(path)
		switch {
		case err == nil && !bytes.Equal(have, body):
			t.Errorf("have %q, %v without an error", have, absent)
		case err != nil && absent == nil:
			t.Errorf("have a file with %v", err)
		case err != nil && strings.Contains(err.Error(), "\n"):
			t.Errorf("have %q, want one line", err)
		}
	})
}
