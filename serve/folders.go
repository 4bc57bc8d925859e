package serve

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"mvag-torch/serve/line"
	"mvag-torch/serve/watch"
)

// newWatchers makes what brings objects from the watched folders.
func (s *Service) newWatchers() error {
	for i, f := range s.cfg.Watch {
		w, err := watch.New(f, watch.Options{
			Judge:   s.line.Judge,
			Model:   func() (line.Model, error) { return s.line.Pick(f.Model, f.Class) },
			Journal: s.journal, Log: s.log,
			Count: s.metrics.Watched, Refused: s.line.Refused,
		})
		if err != nil {
			return fmt.Errorf("watch[%d]: %w", i, err)
		}
		s.watchers = append(s.watchers, w)
	}
	return nil
}

// checkFolders returns an error for folders that cannot be watched together, or as their options say.
func checkFolders(list []watch.Folder, out string) error {
	within := func(inner, outer string) bool {
		rel, err := filepath.Rel(outer, inner)
		return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
	}
	for i, f := range list {
		if err := f.Check(); err != nil {
			return fmt.Errorf("watch[%d]: %w", i, err)
		}
		path, err := filepath.Abs(f.Path)
		if err != nil {
			return fmt.Errorf("watch[%d]: %s: %w", i, f.Path, err)
		}
		if out, err := filepath.Abs(out); err == nil && within(out, path) {
			return fmt.Errorf("watch[%d]: %s: has the folder of results %s in it, want it elsewhere", i, f.Path, out)
		}
		for j, g := range list[:i] {
			if other, err := filepath.Abs(g.Path); err == nil && (within(path, other) || within(other, path)) {
				return fmt.Errorf("watch[%d]: %s: is watched as watch[%d] too, or lies in that, want folders apart", i, f.Path, j)
			}
		}
	}
	return nil
}

// watch runs the watchers until ctx ends and what they began is judged.
func (s *Service) watch(ctx context.Context, goes func(func() error)) {
	for _, w := range s.watchers {
		goes(func() error { return w.Run(ctx) })
	}
}
