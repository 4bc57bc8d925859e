package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mvag-torch/internal/atomicfile"
)

// ErrDamaged is the error of a file that does not hold what was written to it, or that cannot be read.
var ErrDamaged = errors.New("the file is damaged")

// damaged is an error that is ErrDamaged and does not say so.
type damaged struct{ error }

func (d damaged) Unwrap() error { return d.error }

func (d damaged) Is(target error) bool { return target == ErrDamaged }

// Previous is where [Write] keeps the checkpoint that it replaces: checkpoint.previous.safetensors.
func Previous(path string) string { return between(path, ".previous") }

// Damaged is where a damaged file of a run folder is kept: checkpoint.damaged.safetensors.
func Damaged(path string) string { return between(path, ".damaged") }

func between(path, word string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + word + ext
}

// OrPrevious ends a line about a checkpoint that cannot be read: it names the previous one, and is "" where there is none.
func OrPrevious(path string) string {
	if _, err := os.Lstat(Previous(path)); err != nil {
		return ""
	}
	return "; the previous checkpoint of the training is " + Previous(path)
}

// keep gives the file at path the name Previous, too, if there is one. It keeps its own, except in file systems
// without hard links, where it loses it.
func keep(path string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the previous one is the latest that is whole
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	previous := Previous(path)
	err = os.Remove(previous)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.Link(path, previous)
	}
	if err != nil {
		err = os.Rename(path, previous)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", previous, atomicfile.Cause(err))
	}
	return nil
}

// OpenLast is [Open] for whoever goes on from a checkpoint. Where that is damaged or gone, and the previous one is whole,
// it opens that, and why says so. Errors are those of path.
func OpenLast(path string) (f *File, why error, err error) {
	f, err = open(path)
	if err == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
		return f, nil, err
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	f, failed := open(Previous(path))
	switch {
	case failed == nil:
		return f, err, nil
	case errors.Is(failed, fs.ErrNotExist):
		return nil, nil, err
	}
	return nil, nil, fmt.Errorf("%w; and the one before it: %w", err, failed)
}

// SetAside gives a checkpoint the name [Damaged], if there is one, so that it is not kept as the previous one.
func SetAside(path string) error {
	if err := os.Rename(path, Damaged(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	return nil
}
