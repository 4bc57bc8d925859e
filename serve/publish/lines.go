package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"mvag-torch/internal/atomicfile"
)

// Lines appends messages to a file of JSON Lines, each exactly once: what is in the file but not yet marked in the
// journal, because the process ended in between, is found in its last lines and not written again. A torn last line is
// cut off. A file that was renamed, removed or cut is noticed before the next message, and a new one is begun. Only
// where the file is taken away while the service is not running, after a crash, may the first lines of the new file
// repeat the last of the old one.
type Lines struct {
	path    string
	journal string // name
	log     *slog.Logger

	f       *os.File // nil where it has to be opened
	size    int64
	written map[uint64]sum // the newest lines of this journal by number, in this file or one before
}

type sum = [sha256.Size]byte

// remembered is how many lines are compared at most. More than a Runner sends at once are enough.
const remembered = 1024

// NewLines returns the destination of the file at path, for a journal of that name.
func NewLines(path, journal string, log *slog.Logger) *Lines {
	return &Lines{path: path, journal: journal, log: log, written: map[uint64]sum{}}
}

// Lost never tells of anything.
func (l *Lines) Lost() <-chan struct{} { return nil }

// Close closes the file.
func (l *Lines) Close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return l.named(err)
}

// Send appends messages and waits until they are on the disk.
func (l *Lines) Send(_ context.Context, list []Message) (s Sent, err error) {
	defer func() {
		if err != nil { // what is in the file is found out again
			s.Done = nil
			_ = l.Close()
		}
	}()
	if err := l.ready(); err != nil {
		return s, l.named(err)
	}
	var text bytes.Buffer
	sums := map[uint64]sum{}
	for _, m := range list {
		h := sha256.Sum256(m.Body)
		if l.written[m.Seq] != h {
			text.Write(m.Body)
			text.WriteByte('\n')
			sums[m.Seq] = h
		}
		s.Done = append(s.Done, m.Seq)
	}
	if text.Len() == 0 {
		return s, nil
	}
	n, err := l.f.Write(text.Bytes())
	l.size += int64(n)
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		return s, l.named(err)
	}
	maps.Copy(l.written, sums)
	if len(l.written) > 2*remembered {
		seqs := slices.Sorted(maps.Keys(l.written))
		for _, seq := range seqs[:len(seqs)-remembered] {
			delete(l.written, seq)
		}
	}
	return s, nil
}

// named begins an error with the path.
func (l *Lines) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", l.path, atomicfile.Cause(err))
}

// ready opens the file where it is not open, or is no longer the one of that name.
func (l *Lines) ready() error {
	if l.f != nil {
		there, err := os.Stat(l.path)
		here, err2 := l.f.Stat()
		switch {
		case err2 != nil:
			return err2
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err == nil && os.SameFile(there, here) && here.Size() == l.size:
			return nil
		}
		what := "was changed by someone else"
		if err != nil || !os.SameFile(there, here) {
			what = "was moved or removed; a new one is begun"
		}
		l.log.Warn("file of results "+what, "path", l.path)
		_ = l.Close()
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	if err := l.recover(f); err != nil {
		_ = f.Close()
		return err
	}
	l.f = f
	return nil
}

// tail is how much of the end of the file is read to find its last lines.
const tail = 8 << 20

// recover cuts off a torn last line, finds the newest messages in the file, and brings all of it onto the disk.
func (l *Lines) recover(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a file")
	}
	l.size = info.Size()
	end := make([]byte, min(l.size, tail))
	if _, err := f.ReadAt(end, l.size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	whole := bytes.LastIndexByte(end, '\n') + 1
	if torn := end[whole:]; len(torn) > 0 {
		if l.number(torn) > 0 { // only the line feed is missing
			if _, err := f.Write([]byte("\n")); err != nil {
				return err
			}
			l.size++
			whole = len(end)
		} else {
			l.log.Warn("torn last line cut off; its result follows", "path", l.path, "bytes", len(torn))
			l.size -= int64(len(torn))
			if err := f.Truncate(l.size); err != nil {
				return err
			}
		}
	}
	l.remember(end[:whole])
	if err := f.Sync(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(l.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	err = dir.Sync()
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) { // network file systems
		return err
	}
	return nil
}

// remember notes the last lines of a text of whole lines.
func (l *Lines) remember(text []byte) {
	foreign := 0
	for n := 0; len(text) > 0 && n < remembered; n++ {
		text = bytes.TrimSuffix(text, []byte("\n"))
		at := bytes.LastIndexByte(text, '\n') + 1
		if seq := l.number(text[at:]); seq > 0 {
			l.written[seq] = sha256.Sum256(text[at:])
		} else if len(l.written) == 0 {
			foreign++
		}
		text = text[:at]
	}
	if foreign > 0 {
		l.log.Warn("file of results ends with lines that this journal does not have", "path", l.path, "lines", foreign)
	}
}

// number returns the number in the id of a line, 0 if it is no whole line of this journal.
func (l *Lines) number(line []byte) uint64 {
	var record struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(line, &record) != nil {
		return 0
	}
	digits, ok := strings.CutPrefix(record.ID, l.journal+"-")
	seq, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return 0
	}
	return seq
}
