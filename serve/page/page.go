// Package page is the page of the service: HTML, style sheet, scripts and texts, embedded in the program. It needs no
// network but the service itself.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// files is the page: index.html and what it loads.
//
//go:embed static
var files embed.FS

// Policy is the Content-Security-Policy of everything that the page consists of. No script or style stands in the HTML,
// and nothing comes from elsewhere.
const Policy = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; " +
	"form-action 'self'; frame-ancestors 'none'"

// forever is the caching of files whose address changes with what is in them.
const forever = "public, max-age=31536000, immutable"

// asset is a file of the page.
type asset struct {
	name, kind, tag, caching string
	data                     []byte
}

// Handler serves the page. GET / is the page itself, asked for anew each time and answered with 304 where it is the
// same. Its style sheet, scripts and texts are below /static/HASH/, where HASH is of all of them, and may be kept for a
// year. Everything else is 404, and any method but GET and HEAD is 405. The page reads and changes what the HTTP
// interface of the service has below /v1/ of the same origin.
func Handler() http.Handler {
	assets := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, fmt.Sprintf("%s: have %s, want GET", r.URL.Path, r.Method), http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", Policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Type", a.kind)
		h.Set("Cache-Control", a.caching)
		h.Set("ETag", a.tag)
		http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.data))
	})
}

// load returns the files of the page by the path of their address.
func load() map[string]asset {
	all := sha256.New()
	read := map[string][]byte{}
	err := fs.WalkDir(files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(all, "%s %d\n%s", name, len(data), data)
		read[strings.TrimPrefix(name, "static/")] = data
		return nil
	})
	if err != nil {
		return nil // the embedded files are there, or the program would not have been built
	}
	hash := hex.EncodeToString(all.Sum(nil)[:8])
	assets := map[string]asset{}
	for name, data := range read {
		address, caching := "/static/"+hash+"/"+name, forever
		if name == "index.html" {
			address, caching = "/", "no-cache"
			data = bytes.ReplaceAll(data, []byte("static/HASH/"), []byte("static/"+hash+"/"))
		}
		sum := sha256.Sum256(data)
		assets[address] = asset{name: name, kind: kind(name), caching: caching, data: data,
			tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return assets
}

// kind is the media type of a file, the same on every machine.
func kind(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".json":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}
