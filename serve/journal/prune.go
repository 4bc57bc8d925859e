package journal

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Prune removes entries with their keys, the oldest first, until keep returns true. count is the number of entries from
// this one on. Entries that are pending for a destination of Open are passed over. keep may call the journal. Prune
// returns the ids of what it removed, also with an error.
func (j *Journal) Prune(keep func(seq uint64, count int, data []byte) bool) (removed []string, err error) {
	left := j.Len()
	for from, done := uint64(0), false; !done; {
		var list []Entry
		if list, err = j.oldest(from); err != nil {
			return removed, err
		}
		done = len(list) < chunk
		var unwanted []Entry
		for _, e := range list {
			if keep(e.Seq, left, e.Data) {
				done = true
				break
			}
			left--
			from = e.Seq + 1
			unwanted = append(unwanted, e)
		}
		if len(unwanted) == 0 {
			break
		}
		var gone []string
		err = j.update(func(tx *bolt.Tx) error {
			gone, err = j.remove(tx, unwanted)
			return err
		}, nil)
		if err != nil {
			return removed, err
		}
		removed = append(removed, gone...)
	}
	return removed, nil
}

// oldest returns the first entries from a number on.
func (j *Journal) oldest(from uint64) (list []Entry, err error) {
	err = j.view(func(tx *bolt.Tx) error {
		c := tx.Bucket(bucketEntries).Cursor()
		for k, v := c.Seek(number(from)); k != nil && len(list) < chunk; k, v = c.Next() {
			e, _, err := j.entry(k, v)
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// remove removes entries that are there and not pending, and returns their ids.
func (j *Journal) remove(tx *bolt.Tx, list []Entry) (ids []string, err error) {
	entries, pending := tx.Bucket(bucketEntries), tx.Bucket(bucketPending)
	for _, e := range list {
		k := number(e.Seq)
		v := entries.Get(k)
		if v == nil || j.isPending(pending, e.Seq) {
			continue
		}
		_, hash, err := j.entry(k, v)
		if err != nil {
			return nil, err
		}
		if len(hash) > 0 {
			if err := tx.Bucket(bucketKeys).Delete(hash); err != nil {
				return nil, err
			}
		}
		for to := range j.retired {
			if err := published(pending.Bucket([]byte(to)), k); err != nil {
				return nil, err
			}
		}
		if err := errors.Join(entries.Delete(k), count(tx, -1)); err != nil {
			return nil, err
		}
		ids = append(ids, e.ID)
	}
	return ids, nil
}

func (j *Journal) isPending(pending *bolt.Bucket, seq uint64) bool {
	for to := range j.changed {
		at, _ := pending.Bucket([]byte(to)).Cursor().Seek(number(seq))
		if at != nil && binary.BigEndian.Uint64(at) == seq {
			return true
		}
	}
	return false
}

// Put stores a small note, in place of the one of the same kind and key. Neither may be "". Prune leaves notes alone.
func (j *Journal) Put(kind, key string, value []byte) error {
	return j.update(func(tx *bolt.Tx) error {
		b, err := tx.Bucket(bucketNotes).CreateBucketIfNotExists([]byte(kind))
		if err != nil {
			return fmt.Errorf("note of kind %q: %w", kind, err)
		}
		if err := b.Put([]byte(key), value); err != nil {
			return fmt.Errorf("note %q of kind %q: %w", key, kind, err)
		}
		return nil
	}, nil)
}

// Remove removes a note, if it is there.
func (j *Journal) Remove(kind, key string) error {
	return j.update(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketNotes).Bucket([]byte(kind)); b != nil {
			return b.Delete([]byte(key))
		}
		return nil
	}, nil)
}

// GetValue finds a note.
func (j *Journal) GetValue(kind, key string) (value []byte, ok bool, err error) {
	err = j.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bucketNotes).Bucket([]byte(kind)); b != nil {
			if v := b.Get([]byte(key)); v != nil {
				value, ok = append([]byte{}, v...), true
			}
		}
		return nil
	})
	return value, ok, err
}

// Values visits the notes of a kind in the order of their keys, until visit returns false. visit may call the journal.
func (j *Journal) Values(kind string, visit func(key string, value []byte) bool) error {
	type note struct{ key, value []byte }
	for from := []byte{}; ; {
		var list []note
		err := j.view(func(tx *bolt.Tx) error {
			b := tx.Bucket(bucketNotes).Bucket([]byte(kind))
			if b == nil {
				return nil
			}
			c := b.Cursor()
			for k, v := c.Seek(from); k != nil && len(list) < chunk; k, v = c.Next() {
				list = append(list, note{append([]byte{}, k...), append([]byte{}, v...)})
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, n := range list {
			from = append(n.key, 0) // the next possible key
			if !visit(string(n.key), n.value) {
				return nil
			}
		}
		if len(list) < chunk {
			return nil
		}
	}
}
