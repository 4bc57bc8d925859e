package dataset

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"

	"mvag-torch/configs"
)

// Source provides images and masks as the model sees them, from their files or from a cache. It is safe for concurrent
// use.
type Source struct {
	Fit   Fit
	Cache *Cache // nil if the files are read
	// Skipped collects images that cannot be read and are left out; if it is nil, such an image is an error.
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

// Image writes the fitted image of v to dst, [3, Crop, Crop], and returns the width and height of the original image,
// as [Fit.Image] does. Errors name the file.
func (s Source) Image(v View, dst []uint8) (w, h int, err error) {
	if s.Cache == nil || v.Data != nil {
		return s.Fit.Image(v, dst)
	}
	if want := 3 * s.Fit.Crop * s.Fit.Crop; len(dst) != want {
		return 0, 0, fmt.Errorf("%s: dst: have %d values, want %d", printable(v.Path), len(dst), want)
	}
	return s.Cache.image(v, dst)
}

// Skip reports whether v is to be left out because of err, and records it. Errors of the machine (out of memory or file
// handles, a lost network) and of the cache say nothing about the image, so they are never skipped.
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

// Skipped lists the images that were left out because they could not be read. It is safe for concurrent use.
type Skipped struct {
	mu     sync.Mutex
	byPath map[string]string // error message by file
}

func (s *Skipped) add(path string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPath == nil {
		s.byPath = map[string]string{}
	}
	s.byPath[path] = err.Error()
}

// Lines returns one line for each image left out, sorted. The list may be nil.
func (s *Skipped) Lines() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Values(s.byPath))
}
