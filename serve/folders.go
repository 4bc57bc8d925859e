package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mvag-torch/serve/line"
	"mvag-torch/serve/watch"
)

// newWatchers makes what brings objects from the watched folders.
func (s *Service) newWatchers() error {
	for i, f := range s.cfg.Watch {
		if _, err := s.modelOf(f); err != nil {
			return fmt.Errorf("watch[%d]: %s: %w", i, f.Path, err)
		}
		// One whose parent is missing as well may be on a share that is away.
		if err := os.Mkdir(f.Path, 0o755); err == nil {
			s.log.Info("the watched folder was not there and is made", "folder", f.Path)
		} else if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("watch[%d]: %w", i, err)
		}
		w, err := watch.New(f, watch.Options{
			Judge:   s.line.Judge,
			Model:   func() (line.Model, error) { return s.modelOf(f) },
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

// modelOf is the model that judges what is in a folder. Where names of files tell classes, that is the one that is named, or
// the only one.
func (s *Service) modelOf(f watch.Folder) (line.Model, error) {
	if models := s.line.Models(); f.Class == "" && f.Model == "" && len(models) == 1 {
		return models[0], nil
	}
	if m, ok := s.line.Model(f.Model); ok && f.Class == "" {
		return m, nil
	}
	return s.line.Pick(f.Model, f.Class)
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
		if info, err := os.Stat(f.Path); err == nil && !info.IsDir() {
			return fmt.Errorf("watch[%d]: %s: is a file, want a folder", i, f.Path)
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
