package dataset

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"mvag-torch/configs"
)

// Source gives the images and masks of a set as the model sees them: out of their files, or out of a cache of them.
// It is safe for concurrent use.
type Source struct {
	Fit   Fit
	Cache *Cache // nil: the files are read
	// Skipped gathers the images that cannot be read and are left out; nil where such an image is an error.
	Skipped *Skipped

	root string // data.root
}

// NewSource returns the source that cfg describes, without its cache.
func NewSource(cfg configs.Data) Source {
	s := Source{Fit: NewFit(cfg), root: cfg.Root}
	if cfg.OnError == "skip" {
		s.Skipped = &Skipped{}
	}
	return s
}

// Image writes the fitted image of v into dst [3, Crop, Crop] and returns the size of the image before the fit, as
// [Fit.Image]. Errors name the file.
func (s Source) Image(v View, dst []uint8) (w, h int, err error) {
	if s.Cache == nil || v.Data != nil {
		return s.Fit.Image(v, dst)
	}
	if want := 3 * s.Fit.Crop * s.Fit.Crop; len(dst) != want {
		return 0, 0, fmt.Errorf("%s: have room for %d values, want %d", printable(v.Path), len(dst), want)
	}
	return s.Cache.image(v, dst)
}

// Skip reports whether v is to be left out since it could not be read, and remembers it. A machine that is short of
// memory or files, or that lost its network, says nothing about an image, nor does an outdated cache: those stay
// errors.
func (s Source) Skip(v View, err error) bool {
	if s.Skipped == nil || errors.Is(err, errCache) {
		return false
	}
	for _, machine := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENOTCONN} {
		if errors.Is(err, machine) {
			return false
		}
	}
	s.Skipped.add(v.Path, err)
	return true
}

// Skipped is the list of images that could not be read and were left out. It is safe for concurrent use.
type Skipped struct {
	mu     sync.Mutex
	byPath map[string]string // why, by file
}

func (s *Skipped) add(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPath == nil {
		s.byPath = map[string]string{}
	}
	s.byPath[path] = err.Error()
}

// Lines are the reasons, each with its file, in order of files. Nil has none.
func (s *Skipped) Lines() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, why := range s.byPath {
		lines = append(lines, why)
	}
	slices.Sort(lines)
	return lines
}
