package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/train/feature"
)

// mender reads features that were stored, and computes those anew whose record is damaged: a disk that loses a bit does not
// end a run that can be helped. The bits are the same, since they depend on the images of the object alone.
type mender struct {
	run   *run
	scope *tensor.Scope
	cache *cache
}

// stored is [feature.Store.Read].
func (m mender) stored(o *dataset.Object, present []bool, features []byte) error {
	err := m.cache.store.Read(m.cache.keys[o], present, features)
	if errors.Is(err, feature.ErrDamaged) {
		err = m.mend(err, o, present, features)
	}
	return err
}

// mend computes the features of an object, and puts them in the place of its record. It needs the images as they were.
func (m mender) mend(damage error, o *dataset.Object, present []bool, features []byte) error {
	read, packed, err := m.encode(o)
	if err == nil && !whole(o, read) {
		err = errors.New("not all of its images can be read")
	}
	if now, failed := keyOf(m.run.data.Source, o); err == nil && failed == nil && now != m.cache.keys[o] && m.run.team.Rank() == 0 {
		err = errors.New("an image of it has changed since the run began")
	}
	if err == nil && len(packed) != len(features) {
		err = fmt.Errorf("have %d bytes, want %d", len(packed), len(features))
	}
	if err != nil {
		return fmt.Errorf("%w; the features of %s cannot be computed anew: %w", damage, strings.ToValidUTF8(o.ID, "?"), err)
	}
	copy(present, read)
	copy(features, packed)
	m.run.sink.Mended(damage)
	if m.run.team.Rank() > 0 {
		m.run.mended = append(m.run.mended, damage.Error())
	}
	return m.cache.store.Replace(m.cache.keys[o], read, packed)
}

// encode computes the features of one object or tile, whatever has become of the run's context: what is to be mended is
// part of a step that all ranks take.
func (m mender) encode(o *dataset.Object) (read []bool, packed []byte, err error) {
	loader, err := dataset.NewEvalLoader(context.WithoutCancel(m.run.ctx), []dataset.Object{o.Whole()}, m.run.encoding())
	if err != nil {
		return nil, nil, err
	}
	defer loader.Close()
	batch, err := loader.Next()
	if err != nil {
		return nil, nil, err
	}
	packed, err = m.run.encode(m.scope, o, batch.TilePixels(max(0, o.Tile-1), nil))
	return batch.Present, packed, err
}

// tellMended tells rank 0 what the others have mended since they met for it, so that it speaks for all.
func (r *run) tellMended() error {
	if r.team.Size() == 1 {
		return nil
	}
	mine, err := json.Marshal(r.mended)
	r.mended = nil
	said, err := r.team.Meet(mine, err)
	if err != nil || r.team.Rank() > 0 {
		return err
	}
	for rank, text := range said[1:] {
		var damages []string
		if err := json.Unmarshal(text, &damages); err != nil {
			return fmt.Errorf("rank %d: what was mended: %w", rank+1, err)
		}
		for _, damage := range damages {
			r.sink.Mended(fmt.Errorf("rank %d: %s", rank+1, damage))
		}
	}
	return nil
}
