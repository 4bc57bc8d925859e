// Package lock keeps a second process away from what one process uses, and names that one to it. The kernel frees a lock
// when its process ends, however it ends, so no lock is ever stale.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mvag-torch/internal/atomicfile"
)

// Lock is held until Release or the end of the process.
type Lock struct {
	// Unsupported is why the file system has no locks, so that nothing keeps a second process away; nil where it has.
	Unsupported error

	path string
	file *os.File
}

// Owner is the process that holds a lock, as the file of the lock says in JSON.
type Owner struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Since   time.Time `json:"since"`
	Command string    `json:"command"`
}

// Held is the error of Take where another process holds the lock.
type Held struct {
	What  string // what it keeps others away from
	Owner Owner  // the zero value where its file does not say
}

func (h *Held) Error() string {
	if h.Owner.PID == 0 {
		return h.What + ": another process uses it"
	}
	return fmt.Sprintf("%s: used by process %d on %s since %s (%s)",
		h.What, h.Owner.PID, h.Owner.Host, h.Owner.Since.Local().Format("2006-01-02 15:04:05"), h.Owner.Command)
}

// Take takes the lock whose file is path, in a folder that exists, and says there who has it. It does not wait: where
// another process has the lock, on this host or on another that shares the folder, the error is a *[Held] that begins
// with what. Other errors begin with path.
func Take(path, what string) (*Lock, error) {
	for {
		l, err := take(path, what)
		if err != nil {
			return nil, err
		}
		current, err := l.current()
		if current {
			l.sign()
			return l, nil
		}
		_ = l.file.Close() // the owner before has removed the file meanwhile
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
		}
	}
}

func take(path, what string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o666)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	l := &Lock{path: path, file: f}
	err = atomicfile.Flock(f, unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == unix.EWOULDBLOCK:
		defer f.Close()
		return nil, &Held{what, owner(f)}
	case errors.Is(err, errors.ErrUnsupported) || err == unix.ENOLCK || err == unix.EINVAL:
		l.Unsupported = fmt.Errorf("%s: %w", path, err)
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// poll is how often Wait looks.
const poll = 100 * time.Millisecond

// Wait is Take that waits until the lock is free, or ctx ends: then the error is the *[Held]. waiting is told of each
// owner that it waits for; it may be nil.
func Wait(ctx context.Context, path, what string, waiting func(*Held)) (*Lock, error) {
	var last Owner
	for told := false; ; {
		l, err := Take(path, what)
		var held *Held
		if !errors.As(err, &held) {
			return l, err
		}
		if waiting != nil && (!told || held.Owner != last && held.Owner.PID != 0) {
			waiting(held)
			told, last = true, held.Owner
		}
		select {
		case <-ctx.Done():
			return nil, held
		case <-time.After(poll):
		}
	}
}

// Warning says that nothing keeps a second process away, and why; "" where the lock does. l may be nil.
func (l *Lock) Warning() string {
	if l == nil || l.Unsupported == nil {
		return ""
	}
	return fmt.Sprintf("%v: without locks, nothing keeps a second process away", l.Unsupported)
}

// Current reports whether the file of the lock is still the one that others find: a person may have removed it, or its
// folder.
func (l *Lock) Current() bool {
	current, _ := l.current()
	return current
}

func (l *Lock) current() (bool, error) {
	own, err := l.file.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Lstat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(own, now), err
}

// maxOwner is the length of the file of a lock.
const maxOwner = 4096

// owner reads who holds the lock of f: the zero value if it has not been written yet, or by another program.
func owner(f *os.File) (o Owner) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxOwner))
	if err != nil || json.Unmarshal(text, &o) != nil || o.PID < 0 {
		return Owner{}
	}
	o.Host, o.Command = printable(o.Host), printable(o.Command)
	return o
}

// printable is one line of text, whatever a file holds.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// address matches what may have a password in it.
var address = regexp.MustCompile(`://\S*`)

// sign writes who has the lock. On a full disk it cannot, and the owner is not named to others.
func (l *Lock) sign() {
	host, _ := os.Hostname()
	command := address.ReplaceAllString(strings.Join(os.Args, " "), "://…")
	if len(command) > 200 {
		command = command[:200] + "…"
	}
	text, err := json.Marshal(Owner{os.Getpid(), host, time.Now().Round(time.Second), command})
	if err == nil {
		_, err = l.file.WriteAt(text, 0)
	}
	if err != nil {
		text = nil
	}
	_ = l.file.Truncate(int64(len(text)))
}

// Release removes the file of the lock and lets others take it. l may be nil.
func (l *Lock) Release() {
	if l == nil {
		return
	}
	if l.Current() {
		_ = os.Remove(l.path)
	}
	_ = l.file.Close()
}
