package dataset

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
)

// Skipped lists the images that were left out because they could not be read. It is safe for concurrent use.
type Skipped struct {
	most   float64 // fraction of the images of a group that stops the run; 1 for none
	mu     sync.Mutex
	byPath map[string]string // error message by file
	fresh  []LeftOut         // those that NewlySkipped has not returned yet
	groups map[string]*group // by image
}

// LeftOut is an image that was left out: its file, and why as [Skipped.Lines] has it.
type LeftOut struct{ Path, Message string }

// group is the images of a class in training or test.
type group struct {
	name        string // "training images of class \"gear\""
	total, lost int
}

// Expect counts the images of objects, which are called what ("training images"), by class: so many of a class that
// cannot be read are too many. The list may be nil.
func (s *Skipped) Expect(what string, objects []Object) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups == nil {
		s.groups = map[string]*group{}
	}
	byClass := map[string]*group{}
	for i := range objects {
		g := byClass[objects[i].Class]
		if g == nil {
			g = &group{name: what}
			if objects[i].Class != "" {
				g.name += fmt.Sprintf(" of class %q", objects[i].Class)
			}
			byClass[objects[i].Class] = g
		}
		for _, v := range objects[i].Views {
			if v.Path != "" && s.groups[v.Path] == nil { // the views of a strip are one image
				s.groups[v.Path] = g
				g.total++
			}
		}
	}
}

// add records an image, or returns an error if too many of its class cannot be read.
func (s *Skipped) add(path string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPath[path] == "" {
		s.fresh = append(s.fresh, LeftOut{path, err.Error()})
	}
	return s.count(path, err)
}

// count is add, by who has locked s.
func (s *Skipped) count(path string, err error) error {
	if s.byPath == nil {
		s.byPath = map[string]string{}
	}
	g := s.groups[path]
	if s.byPath[path] == "" && g != nil {
		g.lost++
	}
	s.byPath[path] = err.Error()
	if g != nil && s.most < 1 && float64(g.lost) >= s.most*float64(g.total) {
		return fmt.Errorf("%w; with it, %d of %d %s cannot be read, want less than a fraction of %v (data.max_unreadable)",
			err, g.lost, g.total, g.name, s.most)
	}
	return nil
}

// Why returns why an image was left out, "" if it was not. The list may be nil.
func (s *Skipped) Why(path string) string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byPath[path]
}

// NewlySkipped returns the images that this process has left out and that no earlier call returned, their paths relative
// to data.root where they are below it.
func (s Source) NewlySkipped() []LeftOut {
	if s.Skipped == nil {
		return nil
	}
	s.Skipped.mu.Lock()
	defer s.Skipped.mu.Unlock()
	fresh := s.Skipped.fresh
	s.Skipped.fresh = nil
	for i := range fresh {
		if rel, err := filepath.Rel(s.root, fresh[i].Path); err == nil && filepath.IsLocal(rel) {
			fresh[i].Path = rel
		}
	}
	return fresh
}

// SkippedBy records what [Source.NewlySkipped] has returned in another process, or returns an error if too many images of
// a class cannot be read.
func (s Source) SkippedBy(other []LeftOut) error {
	if s.Skipped == nil {
		return nil
	}
	s.Skipped.mu.Lock()
	defer s.Skipped.mu.Unlock()
	for _, u := range other {
		if !filepath.IsAbs(u.Path) {
			u.Path = filepath.Join(s.root, u.Path)
		}
		if err := s.Skipped.count(u.Path, errors.New(u.Message)); err != nil {
			return err
		}
	}
	return nil
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
