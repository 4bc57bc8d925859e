package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// Entry is what Append stored.
type Entry struct {
	ID   string // Name, "-", Seq
	Seq  uint64 // from 1; later entries have larger numbers
	Data []byte
}

// errDamaged is returned for data that is not what was written.
var errDamaged = errors.New("damaged; move it away to begin a new one")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func number(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// encode lays an entry out: checksum of the number and the rest (4 bytes), length of the hash (1), hash, data.
func encode(seq []byte, hash, data []byte) []byte {
	v := make([]byte, 5, 5+len(hash)+len(data))
	v[4] = byte(len(hash))
	v = append(append(v, hash...), data...)
	binary.BigEndian.PutUint32(v, checksum(seq, v))
	return v
}

func checksum(seq, v []byte) uint32 {
	return crc32.Update(crc32.Checksum(seq, castagnoli), castagnoli, v[4:])
}

// entry reads what encode laid out and copies it. hash is that of the key, empty where there is none.
func (j *Journal) entry(k, v []byte) (e Entry, hash []byte, err error) {
	if len(k) != 8 || len(v) < 5 || len(v) < 5+int(v[4]) || checksum(k, v) != binary.BigEndian.Uint32(v) {
		return Entry{}, nil, fmt.Errorf("entry %x: %w", k, errDamaged)
	}
	seq := binary.BigEndian.Uint64(k)
	hash, data := v[5:5+v[4]], v[5+v[4]:]
	return Entry{j.id(seq), seq, bytes.Clone(data)}, bytes.Clone(hash), nil
}

func (j *Journal) id(seq uint64) string { return j.name + "-" + strconv.FormatUint(seq, 10) }

func hashed(key string) []byte {
	h := sha256.Sum256([]byte(key))
	return h[:]
}

// Append stores what make returns for the id of the new entry, which is pending for all destinations. It is on the disk
// when Append returns; concurrent calls share one sync. make must not call the journal and may not be called at all.
//
// The entry is found by key, unless that is "". For a key that the journal has, Append stores nothing and returns that
// entry and true. After an error nothing is stored, with one exception: where the disk fails to confirm a write that it
// did, the entry may be there. The error is an [ErrFull] where a destination has as many entries pending as may be.
func (j *Journal) Append(key string, make func(id string) ([]byte, error)) (e Entry, exists bool, err error) {
	if e, exists, err := j.ByKey(key); exists || err != nil {
		return e, exists, err
	}
	err = j.update(func(tx *bolt.Tx) error {
		if key != "" {
			if e, exists, err = j.byKey(tx, key); exists || err != nil {
				return err
			}
		}
		e, err = j.append(tx, key, make)
		return err
	}, func() {
		for to := range j.changed {
			j.wake(to)
		}
	})
	if err != nil {
		return Entry{}, false, err
	}
	return e, exists, nil
}

// append does nothing to tx if it fails before its first Put.
func (j *Journal) append(tx *bolt.Tx, key string, make func(id string) ([]byte, error)) (Entry, error) {
	if err := j.room(tx); err != nil {
		return Entry{}, err
	}
	pending, entries := tx.Bucket(bucketPending), tx.Bucket(bucketEntries)
	seq := entries.Sequence() + 1
	data, err := make(j.id(seq))
	if err != nil {
		return Entry{}, refusal{err}
	}
	var hash []byte
	if key != "" {
		hash = hashed(key)
		if err := tx.Bucket(bucketKeys).Put(hash, number(seq)); err != nil {
			return Entry{}, err
		}
	}
	k := number(seq)
	entries.FillPercent = 0.9 // numbers only grow
	if err := errors.Join(entries.SetSequence(seq), entries.Put(k, encode(k, hash, data)), count(tx, 1)); err != nil {
		return Entry{}, err
	}
	for to := range j.changed {
		b := pending.Bucket([]byte(to))
		if err := errors.Join(b.Put(k, nil), b.SetSequence(b.Sequence()+1)); err != nil {
			return Entry{}, err
		}
	}
	return Entry{j.id(seq), seq, data}, nil
}

// Room is an [ErrFull] where Append would be refused with one now.
func (j *Journal) Room() error { return j.view(j.room) }

func (j *Journal) room(tx *bolt.Tx) error {
	for to := range j.changed {
		if n := int(tx.Bucket(bucketPending).Bucket([]byte(to)).Sequence()); n >= j.spool {
			return ErrFull{j.path, to, n}
		}
	}
	return nil
}

// count adds n to the number of entries.
func count(tx *bolt.Tx, n int) error {
	head := tx.Bucket(bucketHead)
	return head.SetSequence(head.Sequence() + uint64(n))
}

// Len counts the entries.
func (j *Journal) Len() (n int) {
	_ = j.view(func(tx *bolt.Tx) error {
		n = int(tx.Bucket(bucketHead).Sequence())
		return nil
	})
	return n
}

// Get finds an entry by its id.
func (j *Journal) Get(id string) (e Entry, ok bool, err error) {
	k, own := j.keyOf(id)
	if !own {
		return Entry{}, false, nil
	}
	err = j.view(func(tx *bolt.Tx) error {
		v := tx.Bucket(bucketEntries).Get(k)
		if v == nil {
			return nil
		}
		ok = true
		e, _, err = j.entry(k, v)
		return err
	})
	return e, ok && err == nil, err
}

// Lacks says that an id is one of this journal, whose entry is not there: it was removed, or never stored.
func (j *Journal) Lacks(id string) (lacks bool) {
	k, own := j.keyOf(id)
	err := j.view(func(tx *bolt.Tx) error {
		lacks = tx.Bucket(bucketEntries).Get(k) == nil
		return nil
	})
	return own && lacks && err == nil
}

// keyOf returns the key of the entry with an id, if it is one of this journal.
func (j *Journal) keyOf(id string) (key []byte, own bool) {
	digits, found := strings.CutPrefix(id, j.name+"-")
	seq, err := strconv.ParseUint(digits, 10, 64)
	return number(seq), found && err == nil && j.id(seq) == id
}

// ByKey finds an entry by its key. None has the key "".
func (j *Journal) ByKey(key string) (e Entry, ok bool, err error) {
	if key == "" {
		return Entry{}, false, nil
	}
	err = j.view(func(tx *bolt.Tx) error {
		e, ok, err = j.byKey(tx, key)
		return err
	})
	return e, ok && err == nil, err
}

func (j *Journal) byKey(tx *bolt.Tx, key string) (Entry, bool, error) {
	k := tx.Bucket(bucketKeys).Get(hashed(key))
	if k == nil {
		return Entry{}, false, nil
	}
	e, _, err := j.entry(k, tx.Bucket(bucketEntries).Get(k))
	return e, err == nil, err
}

// chunk is how many entries are read at once. Between them others may write.
const chunk = 128

// Newest visits the entries, the newest first, until visit returns false: all of them, or those before a number, unless
// that is 0. visit may call the journal. Entries appended meanwhile are not visited.
func (j *Journal) Newest(before uint64, visit func(Entry) bool) error {
	for {
		var list []Entry
		err := j.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bucketEntries).Cursor()
			k, v := c.Last()
			if before != 0 {
				if k, v = c.Seek(number(before)); k == nil {
					k, v = c.Last()
				}
				for k != nil && binary.BigEndian.Uint64(k) >= before {
					k, v = c.Prev()
				}
			}
			for ; k != nil && len(list) < chunk; k, v = c.Prev() {
				e, _, err := j.entry(k, v)
				if err != nil {
					return err
				}
				list = append(list, e)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, e := range list {
			if before = e.Seq; !visit(e) {
				return nil
			}
		}
		if len(list) < chunk {
			return nil
		}
	}
}
