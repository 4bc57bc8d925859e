// Package lock keeps a second process away from what one process uses, and names that one to it. The kernel frees a lock
// when its process ends, however it ends, so no lock is ever stale.
package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mvag-torch/internal/atomicfile"
)

// Lock is held until Release or the end of the process.
type Lock struct {
	// Unsupported is why the file system has no locks, so that nothing keeps a second process away; nil where it has.
	Unsupported error

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
// with what. The file stays when the lock is released. Other errors begin with path.
func Take(path, what string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	l := &Lock{file: f}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for err == unix.EINTR {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
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
	l.sign()
	return l, nil
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

// sign writes who has the lock. On a full disk it cannot, and the owner is not named to others.
func (l *Lock) sign() {
	host, _ := os.Hostname()
	command := strings.Join(os.Args, " ")
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

// Release lets others take the lock. l may be nil.
func (l *Lock) Release() {
	if l != nil {
		_ = l.file.Truncate(0) // so that nobody is named who is gone
		_ = l.file.Close()
	}
}
