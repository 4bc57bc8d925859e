// Package atomicfile replaces files so that a reader, or whoever comes after a crash, finds the whole of the old file
// or the whole of the new one.
package atomicfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// Write calls write with a buffered writer and gives the file its name once all of it is on the disk. After an error,
// or a panic of write, the new file is removed and what was at path is as before; the error begins with path.
func Write(path string, write func(w io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer Discard(f) // does nothing after Commit
	if err := Fill(f, path, write); err != nil {
		return err
	}
	return Commit(f, path)
}

// Fill calls write with a buffered writer to f, which Create opened for path, and waits until all of it is on the disk.
// Errors begin with path and do not name f.
func Fill(f *os.File, path string, write func(w io.Writer) error) error {
	w := bufio.NewWriterSize(unnamed{f}, 1<<20)
	err := write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = Cause(f.Sync())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Create opens a new file with a hidden name in the folder of path, for callers that write out of order or over a
// longer time. Commit or Discard ends it.
func Create(path string) (*os.File, error) {
	name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%016x.tmp", rand.Uint64()))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, Cause(err))
	}
	return f, nil
}

// Commit syncs and closes f, renames it to path, which is in the same folder, and syncs the folder. Each step is taken
// only if the one before succeeded, so an error leaves path as it was, unless the last step failed: then path is the
// new file, which a crash may undo.
func Commit(f *os.File, path string) error {
	// The folder is opened first, so that what can fail fails before the rename.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("%s: %w", path, Cause(err))
	}
	defer dir.Close()
	rename := func() error { return os.Rename(f.Name(), path) }
	for _, step := range []func() error{f.Sync, f.Close, rename} {
		if err := step(); err != nil {
			return fmt.Errorf("%s: %w", path, Cause(err))
		}
	}
	// Some network file systems cannot sync a folder and return EINVAL.
	err = dir.Sync()
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("%s: %w", path, Cause(err))
	}
	return nil
}

// Discard closes and removes what Create opened. After Commit it does nothing.
func Discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// unnamed keeps the temporary name out of errors.
type unnamed struct{ f *os.File }

func (u unnamed) Write(p []byte) (int, error) {
	n, err := u.f.Write(p)
	return n, Cause(err)
}

// Cause strips err, which may be nil, of the operation and the names that package os put around it, so that an error can
// begin with the path that its reader knows.
func Cause(err error) error {
	var onPath *fs.PathError
	var onLink *os.LinkError
	switch {
	case errors.As(err, &onPath):
		return onPath.Err
	case errors.As(err, &onLink):
		return onLink.Err
	}
	return err
}
