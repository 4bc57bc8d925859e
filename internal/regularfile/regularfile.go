// Package regularfile opens files that others may have named or written: never a pipe, which would wait for a writer, nor
// a device, which may have no end.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
)

// ErrKind is the error of what is no regular file.
var ErrKind = errors.New("have a folder or special file, want a regular file")

// Open opens a regular file, through links, and returns its size in bytes. It never waits. Errors name the file.
func Open(path string) (f *os.File, size int64, err error) {
	// What is opened is what is examined: another file may have taken the name since.
	f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket
		err = &fs.PathError{Op: "open", Path: path, Err: ErrKind}
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", path, ErrKind)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// Update opens a regular file to read and write it, through links, and makes it where there is none. It never waits. Errors
// name the file.
func Update(path string) (*os.File, error) { return write(path, 0) }

// Create opens a regular file without its content to write it in place, or makes it. A link of that name is removed, not
// followed. It never waits. Errors name the file.
func Create(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return write(path, os.O_TRUNC|syscall.O_NOFOLLOW)
}

func write(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NONBLOCK|flags, 0o666)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrKind}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// StillAt tells whether path leads to the file or folder that own describes. The error is that of package os where that is not
// known.
func StillAt(path string, own fs.FileInfo) (bool, error) {
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(own, now), err
}

// Read returns the content of a regular file of at most so many bytes. Errors name the file. What is appended meanwhile
// is not read.
func Read(path string, most int64) ([]byte, error) {
	f, size, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > most {
		return nil, fmt.Errorf("%s: have %d bytes, want at most %d", path, size, most)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// Mapped calls read, which reads from a file that is mapped into memory. Where that was cut short, or the disk fails,
// reading is a memory fault, which becomes an error.
func Mapped(read func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("cannot be read: %v", fault)
		}
	}()
	read()
	return nil
}
