// Package download fetches a large file over HTTP: what an earlier, interrupted
// call left is kept and continued, and the whole is checked by its SHA-256
// before it gets its name.
package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mvag-torch/internal/atomicfile"
)

// File says what to fetch and where it goes.
type File struct {
	URL, Path string
	// SHA256 is what the file has to have, in hexadecimal; "" takes the server's
	// word (header X-Linked-ETag), where it gives one.
	SHA256   string
	Client   *http.Client
	Pause    time.Duration          // before another try
	Progress func(done, size int64) // size is -1 if not known
}

// Result is a file fetched.
type Result struct {
	SHA256   string
	Verified string // whose word the SHA-256 was compared with, "" if nobody gave one
	Size     int64
}

// tries is how often in a row a connection may end without a byte.
const tries = 3

// Get fetches f. The part so far is in Path + ".part"; a later Get goes on
// from there. A file whose SHA-256 is another is removed.
func Get(ctx context.Context, f File) (Result, error) {
	part := f.Path + ".part"
	out, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return Result{}, err
	}
	defer out.Close()
	g := &getter{File: f, out: out, hash: sha256.New(), linked: f.SHA256}
	if g.done, err = io.Copy(g.hash, out); err != nil {
		return Result{}, fmt.Errorf("%s: %w", part, err)
	}
	for empty := 0; ; {
		before := g.done
		var again bool
		if again, err = g.try(ctx); err == nil {
			break
		}
		if empty++; g.done != before {
			empty = 0
		}
		if !again || empty == tries || ctx.Err() != nil {
			if g.done == 0 {
				_ = os.Remove(part) // nothing is lost
			}
			if g.done > 0 && again {
				err = fmt.Errorf("%w; %d bytes are kept: the same command goes on", err, g.done)
			}
			return Result{}, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(f.Pause):
		}
	}
	return g.finish(part)
}

type getter struct {
	File
	out    *os.File
	hash   hash.Hash
	done   int64
	linked string // SHA-256 expected, "" if not known
}

var (
	hexSHA256    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	contentRange = regexp.MustCompile(`^bytes ([0-9]+)-[0-9]+/([0-9]+|\*)$`)
)

// note takes the SHA-256 that a response tells.
func (g *getter) note(h http.Header) {
	tag := strings.Trim(h.Get("X-Linked-ETag"), `"`)
	if g.linked == "" && hexSHA256.MatchString(tag) {
		g.linked = tag
	}
}

// try asks for what is missing; again says whether another try may help.
func (g *getter) try(ctx context.Context) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL, nil)
	if err != nil {
		return false, err
	}
	if g.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", g.done))
	}
	client := *g.Client
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		g.note(next.Response.Header)
		if len(via) > 9 {
			return errors.New("have more than 10 redirections")
		}
		return nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	g.note(resp.Header)
	size, err := g.place(resp)
	if err != nil || size == g.done {
		return resp.StatusCode >= 500, err
	}
	if err := g.copy(resp.Body, size); err != nil {
		return true, fmt.Errorf("%s: %w", g.URL, err)
	}
	if size >= 0 && g.done < size {
		return true, fmt.Errorf("%s: the connection ended after %d of %d bytes", g.URL, g.done, size)
	}
	return false, nil
}

// place sets the file to where the response begins and returns the size of
// the whole, -1 if not known.
func (g *getter) place(resp *http.Response) (size int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK: // the whole, asked for or not
		if err := g.restart(); err != nil {
			return 0, err
		}
		return resp.ContentLength, nil
	case http.StatusPartialContent:
		m := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
		if m == nil || m[1] != strconv.FormatInt(g.done, 10) {
			return 0, fmt.Errorf("%s: have Content-Range %q, want it to begin at %d", g.URL, resp.Header.Get("Content-Range"), g.done)
		}
		if size, err = strconv.ParseInt(m[2], 10, 64); err != nil {
			size = -1 // "*"
		}
		return size, nil
	case http.StatusRequestedRangeNotSatisfiable: // the part may be all there is
		if resp.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", g.done) {
			return g.done, nil
		}
		if err := g.restart(); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%s: the part kept was of another file and is removed: run the same command again", g.URL)
	}
	return 0, fmt.Errorf("%s: have status %s, want 200", g.URL, resp.Status)
}

func (g *getter) restart() error {
	g.done = 0
	g.hash.Reset()
	if err := g.out.Truncate(0); err != nil {
		return err
	}
	_, err := g.out.Seek(0, io.SeekStart)
	return err
}

func (g *getter) copy(body io.Reader, size int64) error {
	buffer := make([]byte, 1<<18)
	for {
		n, err := body.Read(buffer)
		if _, werr := g.out.Write(buffer[:n]); werr != nil {
			return werr
		}
		_, _ = g.hash.Write(buffer[:n]) // never an error
		g.done += int64(n)
		if g.Progress != nil {
			g.Progress(g.done, size)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// finish checks the whole and gives it its name.
func (g *getter) finish(part string) (Result, error) {
	have := hex.EncodeToString(g.hash.Sum(nil))
	r := Result{SHA256: have, Size: g.done}
	switch {
	case g.linked != "" && g.linked != have:
		_ = os.Remove(part) // the error below says it is useless
		return r, fmt.Errorf("%s: have SHA-256 %s, want %s; the file is removed", g.URL, have, g.linked)
	case g.SHA256 != "":
		r.Verified = "the one given"
	case g.linked != "":
		r.Verified = "the server's"
	}
	return r, atomicfile.Commit(g.out, g.Path)
}
