// Package download fetches a large file over HTTP. An interrupted download is kept and resumed, if the server still has
// the same file, and the whole is checked by its SHA-256 before it gets its name.
package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

// File is what to download, and where to.
type File struct {
	URL, Path string
	// SHA256 is the expected checksum in hexadecimal. If it is "", the server's (header X-Linked-ETag) is used, if it
	// sends one.
	SHA256   string
	Client   *http.Client
	Pause    time.Duration          // before another attempt
	Progress func(done, size int64) // in bytes; size is -1 if unknown
}

// Result describes a downloaded file.
type Result struct {
	SHA256   string
	Verified string // what the SHA-256 was compared with, "" if with nothing
	Size     int64  // in bytes
}

// maxAttempts is the number of attempts in a row that may end without progress.
const maxAttempts = 3

// Get downloads f. What has arrived so far is in Path + ".part", and the validator of that version of the file (its
// ETag or Last-Modified) in Path + ".part.validator"; a later Get resumes from there. A file with another SHA-256 than
// expected is removed.
func Get(ctx context.Context, f File) (Result, error) {
	part := f.Path + ".part"
	out, err := regularfile.Update(part)
	if err != nil {
		return Result{}, err
	}
	defer out.Close()
	g := &getter{File: f, out: out, hash: sha256.New(), expected: f.SHA256}
	if g.done, err = io.Copy(g.hash, out); err != nil {
		return Result{}, fmt.Errorf("%s: %w", part, err)
	}
	validator, err := regularfile.Read(g.validatorPath(), longestValidator)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Result{}, err
	}
	g.validator = string(validator)
	for failures := 0; ; {
		before := g.done
		retry, err := g.attempt(ctx)
		if err == nil {
			return g.finish()
		}
		if failures++; g.done > before {
			failures = 0
		}
		if !retry || failures == maxAttempts || ctx.Err() != nil {
			if g.done == 0 {
				g.remove()
			} else if retry {
				err = fmt.Errorf("%w; %d bytes are kept: run the same command again to resume", err, g.done)
			}
			return Result{}, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(f.Pause):
		}
	}
}

type getter struct {
	File
	out       *os.File
	hash      hash.Hash // of the bytes in out
	done      int64     // bytes in out
	validator string    // of the version of the file in out, "" if unknown
	expected  string    // SHA-256, "" if unknown
}

func (g *getter) validatorPath() string { return g.out.Name() + ".validator" }

var (
	hexSHA256    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	contentRange = regexp.MustCompile(`^bytes ([0-9]+)-[0-9]+/([0-9]+|\*)$`)
)

// readSHA256 takes the SHA-256 from the headers of a response, if it is there.
func (g *getter) readSHA256(h http.Header) {
	tag := strings.Trim(h.Get("X-Linked-ETag"), `"`)
	if g.expected == "" && hexSHA256.MatchString(tag) {
		g.expected = tag
	}
}

// attempt requests what is missing; retry says whether another attempt may help.
func (g *getter) attempt(ctx context.Context) (retry bool, err error) {
	// Without a validator only the SHA-256 would show that the beginning and the rest come from two versions of the
	// file.
	if g.done > 0 && g.validator == "" && g.expected == "" {
		if err := g.restart(""); err != nil {
			return false, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL, nil)
	if err != nil {
		return false, err
	}
	if g.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", g.done))
		if g.validator != "" {
			req.Header.Set("If-Range", g.validator)
		}
	}
	client := *g.Client
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		g.readSHA256(next.Response.Header)
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
	g.readSHA256(resp.Header)
	size, err := g.seek(resp)
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

// seek moves to the offset where the response's body begins and returns the size of the whole file, -1 if unknown.
func (g *getter) seek(resp *http.Response) (size int64, err error) {
	switch have := resp.Header.Get("Content-Range"); resp.StatusCode {
	case http.StatusOK: // the whole file, because all of it was requested or because it has changed
		return resp.ContentLength, g.restart(validatorOf(resp.Header))
	case http.StatusPartialContent:
		m := contentRange.FindStringSubmatch(have)
		if m == nil || m[1] != strconv.FormatInt(g.done, 10) {
			return 0, fmt.Errorf("%s: have Content-Range %q, want it to begin at %d", g.URL, have, g.done)
		}
		if size, err = strconv.ParseInt(m[2], 10, 64); err != nil {
			size = -1 // "*"
		}
		return size, nil
	case http.StatusRequestedRangeNotSatisfiable: // the part may be the whole file
		if have == fmt.Sprintf("bytes */%d", g.done) {
			return g.done, nil
		}
		if err := g.restart(""); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%s: the part kept was of another file and is removed: run the same command again", g.URL)
	}
	return 0, fmt.Errorf("%s: have status %s, want 200", g.URL, resp.Status)
}

// longestValidator is the most bytes of a validator. A longer one is not kept.
const longestValidator = 4096

// validatorOf returns what If-Range may ask for: a strong ETag, else the time of the last change, else "".
func validatorOf(h http.Header) string {
	validator := h.Get("Last-Modified")
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) { // weak ones begin with W/
		validator = tag
	}
	if len(validator) > longestValidator {
		return ""
	}
	return validator
}

// restart empties the part and keeps the validator of what will be written.
func (g *getter) restart(validator string) error {
	g.done, g.validator = 0, validator
	g.hash.Reset()
	if err := g.out.Truncate(0); err != nil {
		return err
	}
	if _, err := g.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return os.WriteFile(g.validatorPath(), []byte(validator), 0o644)
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

// remove deletes the part and its validator. What cannot be deleted is harmless.
func (g *getter) remove() {
	_ = os.Remove(g.out.Name())
	_ = os.Remove(g.validatorPath())
}

// finish verifies the whole file and gives it its name.
func (g *getter) finish() (Result, error) {
	r := Result{SHA256: hex.EncodeToString(g.hash.Sum(nil)), Size: g.done}
	switch {
	case g.expected != "" && g.expected != r.SHA256:
		g.remove()
		return r, fmt.Errorf("%s: have SHA-256 %s, want %s; the file is removed", g.URL, r.SHA256, g.expected)
	case g.SHA256 != "":
		r.Verified = "the one given"
	case g.expected != "":
		r.Verified = "the server's"
	}
	if err := atomicfile.Commit(g.out, g.Path); err != nil {
		return r, err
	}
	_ = os.Remove(g.validatorPath()) // of a part that is no longer there
	return r, nil
}
