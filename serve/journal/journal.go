// Package journal keeps, in one file, what the service said of each object: durable when Append returns, found by
// number and by the key of the request, and pending for each destination until that has it. It stores bytes and knows
// nothing of records.
//
// The file is a bbolt database, whose lock refuses a second process. It survives the end of the process at any moment.
// No clock decides anything: entries are ordered by their number.
//
//	head       format, name               its sequence counts the entries
//	entries    number  -> checksum, hash of the key, data
//	keys       hash    -> number
//	pending/TO number  -> nothing         its sequence counts the pending entries
//	notes/KIND key     -> value
package journal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

const format = "1"

var (
	bucketHead    = []byte("head")
	bucketEntries = []byte("entries")
	bucketKeys    = []byte("keys")
	bucketPending = []byte("pending")
	bucketNotes   = []byte("notes")
	keyFormat     = []byte("format")
	keyName       = []byte("name")
)

// Options are of Open.
type Options struct {
	To    []string // names of the destinations
	Spool int      // most entries pending for one destination; 0 is 100,000
}

// Journal is an open file. All methods are safe for concurrent use.
type Journal struct {
	path    string
	name    string
	spool   int
	db      *bolt.DB
	own     os.FileInfo              // of the file of db
	changed map[string]chan struct{} // by destination
	retired map[string]int           // pending entries of destinations that are not in Options.To

	writes chan *write
	closed chan struct{} // closed by Close: nothing more is written
	closer sync.Once
	ended  chan struct{} // closed when the last write is done
}

// ErrFull says that a destination has as many entries pending as may be.
type ErrFull struct {
	Path    string
	To      string
	Pending int
}

func (e ErrFull) Error() string {
	return fmt.Sprintf("%s: %d entries are pending for %q, want fewer; the destination takes none", e.Path, e.Pending, e.To)
}

// ErrClosed is returned after Close, behind the name of the file.
var ErrClosed = errors.New("closed")

var (
	errInUse = errors.New("another service uses it")
	errGone  = errors.New("was removed, renamed or replaced while it is in use; want it put back, or a restart")
)

// Open opens the journal at path and makes one where there is no file. It reads all of an existing one but the data of
// its entries, whose checksums Get and the others compare. A destination that is new in Options.To gets the entries
// from now on. What is pending for one that is no longer in it stays, see Retired. Errors begin with path.
func Open(path string, opt Options) (*Journal, error) {
	if opt.Spool == 0 {
		opt.Spool = 100_000
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, err
		}
	}
	j := &Journal{path: path, spool: opt.Spool, changed: map[string]chan struct{}{}, retired: map[string]int{},
		writes: make(chan *write, maxGroup), closed: make(chan struct{}), ended: make(chan struct{})}
	for _, to := range opt.To {
		if to == "" {
			return nil, fmt.Errorf("%s: destination without a name", path)
		}
		j.changed[to] = make(chan struct{}, 1)
	}
	if err := j.guard(j.open); err != nil {
		if j.db != nil {
			_ = j.db.Close()
		}
		return nil, err
	}
	go j.writer()
	for to := range j.changed {
		if j.Spooled(to) > 0 {
			j.wake(to)
		}
	}
	return j, nil
}

// create makes an empty journal. The file gets its name when all of it is on the disk, so that an empty or short file
// of that name is always damaged, and it never replaces one that another process made meanwhile.
func create(path string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer atomicfile.Discard(f)
	err = func() error {
		db, err := bolt.Open(f.Name(), 0o666, &bolt.Options{OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil }})
		if err != nil {
			return err
		}
		defer db.Close() // and f, whose lock ends with it
		id := make([]byte, 4)
		if _, err := rand.Read(id); err != nil {
			return err
		}
		err = db.Update(func(tx *bolt.Tx) error {
			for _, name := range [][]byte{bucketEntries, bucketKeys, bucketPending, bucketNotes} {
				if _, err := tx.CreateBucket(name); err != nil {
					return err
				}
			}
			head, err := tx.CreateBucket(bucketHead)
			if err != nil {
				return err
			}
			if err := head.Put(keyName, []byte(hex.EncodeToString(id))); err != nil {
				return err
			}
			return head.Put(keyFormat, []byte(format))
		})
		if err != nil {
			return err
		}
		if err := os.Link(f.Name(), path); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}()
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	return nil
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// open opens the database, checks it, and makes the buckets of new destinations.
func (j *Journal) open() error {
	f, err := os.OpenFile(j.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = lock(f); err == nil {
		err = check(f)
	}
	_ = f.Close()
	if err != nil {
		return err
	}
	j.db, err = bolt.Open(j.path, 0o666, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType, OpenFile: j.openFile})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return errInUse
	}
	if err != nil {
		return err
	}
	if err := j.db.View(j.check); err != nil {
		return err
	}
	return j.db.Update(func(tx *bolt.Tx) error {
		for to := range j.changed {
			if _, err := tx.Bucket(bucketPending).CreateBucketIfNotExists([]byte(to)); err != nil {
				return err
			}
		}
		return nil
	})
}

// openFile opens the file for bbolt and notes which one that is.
func (j *Journal) openFile(path string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	if j.own, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// There returns an error once the file that is open is no longer the one of its name: nobody would find what it is told.
// Until it is there again, all writes and Pending return that error.
func (j *Journal) There() error {
	still, err := regularfile.StillAt(j.path, j.own)
	if !still && err == nil {
		err = errGone
	}
	return j.wrap(err)
}

// Close waits for the writes that are on their way and closes the file.
func (j *Journal) Close() error {
	j.closer.Do(func() { close(j.closed) })
	<-j.ended
	return j.wrap(j.db.Close())
}

// Name is the random name of the journal, eight hexadecimal digits. All ids begin with it.
func (j *Journal) Name() string { return j.name }

// To returns the names of the destinations.
func (j *Journal) To() []string {
	names := make([]string, 0, len(j.changed))
	for to := range j.changed {
		names = append(names, to)
	}
	slices.Sort(names)
	return names
}

// Retired counts what is pending for destinations that are no longer among those of Open. A destination that returns
// goes on with them. Until then Prune takes no notice of them.
func (j *Journal) Retired() map[string]int { return j.retired }

// Changed tells one publisher that entries may be pending for its destination: after Open, and after entries were
// appended. It is nil for a destination that is not among those of Open.
func (j *Journal) Changed(to string) <-chan struct{} { return j.changed[to] }

func (j *Journal) wake(to string) {
	select {
	case j.changed[to] <- struct{}{}:
	default:
	}
}

// Spooled counts the entries that are pending for a destination.
func (j *Journal) Spooled(to string) (n int) {
	_ = j.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketPending).Bucket([]byte(to)); b != nil {
			n = int(b.Sequence())
		}
		return nil
	})
	return n
}

// Pending returns up to n entries that are pending for a destination, the oldest first.
func (j *Journal) Pending(to string, n int) (list []Entry, err error) {
	if err := j.There(); err != nil { // nor could be marked what is sent
		return nil, err
	}
	err = j.view(func(tx *bolt.Tx) error {
		list = nil
		b := tx.Bucket(bucketPending).Bucket([]byte(to))
		if b == nil {
			return fmt.Errorf("no destination %q", to)
		}
		c := b.Cursor()
		for k, _ := c.First(); k != nil && len(list) < n; k, _ = c.Next() {
			e, _, err := j.entry(k, tx.Bucket(bucketEntries).Get(k))
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// Published says that a destination has the entries of these numbers. Numbers that are not pending for it are ignored.
func (j *Journal) Published(to string, seqs ...uint64) error {
	return j.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketPending).Bucket([]byte(to))
		if b == nil {
			return fmt.Errorf("no destination %q", to)
		}
		for _, seq := range seqs {
			if err := published(b, number(seq)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

func published(pending *bolt.Bucket, k []byte) error {
	if at, _ := pending.Cursor().Seek(k); !bytes.Equal(at, k) {
		return nil
	}
	if err := pending.Delete(k); err != nil {
		return err
	}
	return pending.SetSequence(pending.Sequence() - 1)
}
