// Package atomicfile replaces files so that a reader, or whoever comes after a crash, finds the whole of the old file
// or the whole of the new one. A process that is killed leaves at most a hidden file, which the next one to write in the
// folder removes.
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
	"regexp"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
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
// longer time. Commit or Discard ends it. The first call for a folder removes what killed processes have left there, see
// [Sweep].
func Create(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if _, swept := folders.LoadOrStore(dir, true); !swept {
		Sweep(dir)
	}
	going.RLock()
	defer going.RUnlock()
	for {
		name := filepath.Join(dir, fmt.Sprintf(".mvag-%016x.tmp", rand.Uint64()))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, Cause(err))
		}
		if own(f) {
			unfinished.Store(f, true)
			return f, nil
		}
		_ = f.Close() // a sweep of another process came between: it is gone
	}
}

// unfinished are the files of Create before Commit or Discard. Abandon takes the lock, which others only read.
var (
	unfinished sync.Map
	going      sync.RWMutex
)

// Abandon removes the files of Create that are neither committed nor discarded, for a process that is about to end while
// parts of it still write. From then on Create and Commit wait for that end.
func Abandon() {
	going.Lock()
	unfinished.Range(func(f, _ any) bool {
		_ = os.Remove(f.(*os.File).Name())
		return true
	})
}

// own marks f as the file of a living process, and reports whether it still has its name. The kernel takes the mark away
// with the process.
func own(f *os.File) bool {
	if Flock(f, unix.LOCK_EX) != nil {
		return true // a file system without locks, where nothing is swept
	}
	_, err := os.Lstat(f.Name())
	return !errors.Is(err, fs.ErrNotExist)
}

// Flock is flock(2) that no signal interrupts.
func Flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// folders are those that this process has swept.
var folders sync.Map

// temporary matches the names that Create gives.
var temporary = regexp.MustCompile(`^\.mvag-[0-9a-f]{16}\.tmp$`)

// Sweep removes from a folder the files of Create whose processes have ended without Commit or Discard. What cannot be
// read or removed stays.
func Sweep(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if temporary.MatchString(name) {
				sweep(filepath.Join(dir, name))
			}
		}
		if err != nil {
			return
		}
	}
}

// sweep removes a file that nobody owns.
func sweep(name string) {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && Flock(f, unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(name)
	}
}

// Commit syncs f, renames it to path, which is in the same folder, syncs the folder and closes f. Each step is taken only
// if the one before succeeded, so an error leaves path as it was, unless the folder could not be synced: then path is the
// new file, which a crash may undo. f is closed last, since a sweep of another process takes what is closed and has not
// been renamed.
func Commit(f *os.File, path string) error {
	going.RLock()
	defer going.RUnlock()
	// The folder is opened first, so that what can fail fails before the rename.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("%s: %w", path, Cause(err))
	}
	defer dir.Close()
	if err = f.Sync(); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		// Some network file systems cannot sync a folder and return EINVAL.
		if err = dir.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, Cause(err))
	}
	_ = f.Close() // all is on the disk
	unfinished.Delete(f)
	return nil
}

// Discard closes and removes what Create opened. After Commit it does nothing.
func Discard(f *os.File) {
	unfinished.Delete(f)
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
