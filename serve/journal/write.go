package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"

	"mvag-torch/internal/atomicfile"
)

// maxGroup is how many writes share one sync at most.
const maxGroup = 256

// write is one change, and who waits for it.
type write struct {
	change func(tx *bolt.Tx) error
	after  func() // once it is on the disk, if not nil
	err    error
	done   chan struct{}
}

// refusal is an error of a caller's function, which says nothing of the file.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// update makes a change and waits until it is on the disk.
func (j *Journal) update(change func(tx *bolt.Tx) error, after func()) error {
	w := &write{change: change, after: after, done: make(chan struct{})}
	select {
	case <-j.closed:
		return j.wrap(ErrClosed)
	default:
	}
	select {
	case j.writes <- w:
	case <-j.closed:
		return j.wrap(ErrClosed)
	}
	select {
	case <-w.done:
	case <-j.ended:
		select {
		case <-w.done:
		default:
			w.err = ErrClosed // sent while the writer ended
		}
	}
	return j.wrap(w.err)
}

// writer makes changes until Close. Those that arrive during a sync share the next.
func (j *Journal) writer() {
	defer close(j.ended)
	for {
		var group []*write
		select {
		case w := <-j.writes:
			group = append(group, w)
		case <-j.closed:
			if len(j.writes) == 0 {
				return
			}
		}
		for len(group) < maxGroup && len(j.writes) > 0 {
			group = append(group, <-j.writes)
		}
		j.write(group)
	}
}

// write makes the changes of a group in one transaction. A change that fails is taken out and the others are made
// again, so each change must bear to be made more than once.
func (j *Journal) write(group []*write) {
	for len(group) > 0 {
		failed := -1
		err := j.guard(func() error {
			if err := j.There(); err != nil {
				return err
			}
			return j.db.Update(func(tx *bolt.Tx) error {
				for i, w := range group {
					if w.err = w.change(tx); w.err != nil {
						failed = i
						return w.err
					}
				}
				return nil
			})
		})
		if failed >= 0 {
			close(group[failed].done)
			group = append(group[:failed:failed], group[failed+1:]...)
			continue
		}
		for _, w := range group {
			if w.err = err; err == nil && w.after != nil {
				w.after()
			}
			close(w.done)
		}
		return
	}
}

func (j *Journal) view(read func(tx *bolt.Tx) error) error {
	select {
	case <-j.closed:
		return j.wrap(ErrClosed)
	default:
	}
	return j.guard(func() error { return j.db.View(read) })
}

// guard turns the panics and faults that a damaged file causes into an error.
func (j *Journal) guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = j.wrap(fmt.Errorf("%w (%.200q)", errDamaged, fmt.Sprint(p)))
		}
	}()
	return j.wrap(do())
}

// named is an error that begins with the path.
type named struct {
	path string
	err  error
}

func (n named) Error() string { return n.path + ": " + n.err.Error() }
func (n named) Unwrap() error { return n.err }

func (j *Journal) wrap(err error) error {
	var already named
	var full ErrFull
	var refused refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refused.error
	case errors.As(err, &already), errors.As(err, &full):
		return err
	}
	return named{j.path, atomicfile.Cause(err)}
}

// check reads the name and walks through all keys of the file.
func (j *Journal) check(tx *bolt.Tx) error {
	head := tx.Bucket(bucketHead)
	if head == nil {
		return errors.New("not a journal of this program")
	}
	if have := head.Get(keyFormat); string(have) != format {
		return fmt.Errorf("format of the journal: have %q, want %q", have, format)
	}
	j.name = string(head.Get(keyName))
	for _, name := range [][]byte{bucketEntries, bucketKeys, bucketPending, bucketNotes} {
		if tx.Bucket(name) == nil {
			return errDamaged
		}
	}
	entries, pending := tx.Bucket(bucketEntries), tx.Bucket(bucketPending)
	n := 0
	err := entries.ForEach(func(k, v []byte) error {
		n++
		if len(k) != 8 || len(v) < 5 || binary.BigEndian.Uint64(k) > entries.Sequence() {
			return errDamaged
		}
		return nil
	})
	if err != nil {
		return err
	}
	if n != int(head.Sequence()) {
		return fmt.Errorf("have %d entries, want %d: %w", n, head.Sequence(), errDamaged)
	}
	if err := pointsInto(entries, tx.Bucket(bucketKeys), false); err != nil {
		return err
	}
	return pending.ForEach(func(to, _ []byte) error {
		b := pending.Bucket(to)
		if b == nil {
			return errDamaged
		}
		if _, ok := j.changed[string(to)]; !ok {
			j.retired[string(to)] = int(b.Sequence())
		}
		return pointsInto(entries, b, true)
	})
}

// pointsInto checks that the keys or values of a bucket are numbers of entries. The sequence of one with keys counts
// them.
func pointsInto(entries, b *bolt.Bucket, keys bool) error {
	n := uint64(0)
	err := b.ForEach(func(k, v []byte) error {
		if n++; keys {
			v = k
		}
		if len(v) != 8 || entries.Get(v) == nil {
			return fmt.Errorf("entry %x is missing: %w", v, errDamaged)
		}
		return nil
	})
	if err == nil && keys && n != b.Sequence() {
		err = fmt.Errorf("have %d pending, want %d: %w", n, b.Sequence(), errDamaged)
	}
	return err
}
