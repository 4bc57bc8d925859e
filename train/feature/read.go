package feature

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"mvag-torch/internal/regularfile"
)

// ErrDamaged is the error of a record that is not what was put, or that cannot be read. Its features can be computed anew,
// see [Store.Replace].
var ErrDamaged = errors.New("damaged")

// Read copies the record of an object to present [views] and features [views, ViewBytes]. The error of a damaged record
// names the file.
func (s *Store) Read(key Key, present []bool, features []byte) error {
	record, kept := s.kept[key]
	i, filed := s.at[key]
	if !kept && !filed {
		return fmt.Errorf("features: no record %x", key)
	}
	if int64(recordHead+len(features)) != s.stride() {
		return io.ErrShortBuffer
	}
	if kept {
		take(record, present, features)
		return nil
	}
	record = s.mapped[headerBytes+int64(i)*s.stride():][:s.stride()]
	var views uint64
	var sum uint32
	err := regularfile.Mapped(func() {
		views, sum = binary.LittleEndian.Uint64(record[16:]), binary.LittleEndian.Uint32(record[24:])
		take(record, present, features)
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: record %d: %w: %w", s.file.Name(), i, ErrDamaged, err)
	case checksum(views, features) != sum:
		return fmt.Errorf("%s: record %d: %w", s.file.Name(), i, ErrDamaged)
	}
	return nil
}

// take copies a record.
func take(record []byte, present []bool, features []byte) {
	copy(features, record[recordHead:])
	views := binary.LittleEndian.Uint64(record[16:])
	for v := range present {
		present[v] = views>>v&1 == 1
	}
}

// Replace writes a damaged record again, with what was computed anew. A view cannot write, and leaves it as it is.
func (s *Store) Replace(key Key, present []bool, features []byte) error {
	i, filed := s.at[key]
	if s.path == "" || !filed || !s.writes {
		return nil
	}
	at := headerBytes + int64(i)*s.stride()
	err := s.writeRecord(s.head(key, present, features), features, at)
	if err == nil {
		err = s.file.Sync()
	}
	return s.named(err)
}
