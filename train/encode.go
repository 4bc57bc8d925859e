package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/memory"
)

// wholes groups the tiles of each object, which follow each other.
func wholes(objects []dataset.Object) (groups [][]dataset.Object) {
	from := 0
	for i := range objects {
		if i+1 == len(objects) || objects[i].Tile == 0 || objects[i].ID != objects[i+1].ID || objects[i].Class != objects[i+1].Class {
			groups = append(groups, objects[from:i+1])
			from = i + 1
		}
	}
	return groups
}

// encoding is how images are read to encode them: whole objects, one at a time.
func (r *run) encoding() dataset.LoaderOptions {
	opt := r.loading()
	opt.Objects, opt.Start, opt.Count = 1, 0, 0
	return opt
}

// encodeAll computes the packed features of objects, one at a time, and calls use for each, on all ranks in the same order.
// Images are decoded once for all tiles of an object. Over N ranks, objects are taken in rounds of N, of which each rank
// encodes one, and use is called for the first tile of each of them, then for the second.
func (r *run) encodeAll(s *tensor.Scope, objects []dataset.Object, progress Features,
	use func(o *dataset.Object, read []bool, features []byte) error) error {
	r.sink.Features(progress)
	groups, n := wholes(objects), r.team.Size()
	e := &encoder{run: r}
	for i := r.team.Rank(); i < len(groups); i += n {
		e.groups = append(e.groups, groups[i])
	}
	defer e.close()
	var err error
	if e.desk, err = r.openDesk(); err != nil {
		return err
	}
	var failure error // of this rank, which the others learn when they meet next
	for from := 0; from < len(groups); from += n {
		round := groups[from:min(from+n, len(groups))]
		for i := range longest(round) {
			mine := []byte(nil)
			if rank := r.team.Rank(); failure == nil && rank < len(round) && i < len(round[rank]) {
				mine, failure = e.tile(s, from/n, i)
			} else if failure == nil {
				failure = r.ctx.Err()
			}
			said, err := r.team.Meet(mine, failure)
			if err != nil {
				return err
			}
			for rank, tiles := range round {
				if i < len(tiles) && failure == nil {
					failure = e.take(rank, &tiles[i], said[rank], use)
				}
			}
			e.turn++
		}
		for range round {
			progress.Done++
			r.sink.Features(progress)
		}
	}
	return r.agree(failure)
}

func longest(groups [][]dataset.Object) (n int) {
	for _, g := range groups {
		n = max(n, len(g))
	}
	return n
}

// encoder encodes the objects of this rank.
type encoder struct {
	run    *run
	groups [][]dataset.Object // the tiles of each
	loader *dataset.Loader    // nil before the first
	batch  *dataset.Batch     // the object that is being encoded
	pixels []uint8
	text   []byte
	desk   *desk // nil where features go with what is said
	turn   int   // meetings so far
}

func (e *encoder) close() {
	if e.loader != nil {
		e.loader.Close()
	}
	e.desk.close()
}

// start loads the images of all objects.
func (e *encoder) start() (err error) {
	list := make([]dataset.Object, len(e.groups))
	for i, tiles := range e.groups {
		list[i] = tiles[0].Whole()
	}
	e.loader, err = dataset.NewEvalLoader(e.run.ctx, list, e.run.encoding())
	return err
}

// tile returns the message of tile i of object k, which come in order. It is valid until the next call.
func (e *encoder) tile(s *tensor.Scope, k, i int) (_ []byte, err error) {
	if e.loader == nil {
		if err := e.start(); err != nil {
			return nil, err
		}
	}
	if i == 0 {
		if e.batch != nil {
			e.loader.Recycle(e.batch)
		}
		if e.batch, err = e.loader.Next(); err != nil {
			return nil, err
		}
	}
	o := &e.groups[k][i]
	e.pixels = e.batch.TilePixels(max(0, o.Tile-1), e.pixels)
	features, err := e.run.encode(s, o, e.pixels)
	if err != nil {
		return nil, err
	}
	about := encoded{Read: e.batch.Present}
	for v, read := range e.batch.Present {
		if view := o.Views[v]; !read && view.Present() {
			about.Skipped = append(about.Skipped, skipped{v, e.run.data.Source.Skipped.Why(view.Path)})
		}
	}
	if e.desk != nil {
		if err := e.desk.put(e.turn, features); err != nil {
			return nil, err
		}
		features = nil
	}
	e.text, err = about.message(e.text[:0], features)
	return e.text, err
}

// encoded is what is said of an object, or a tile of it, beside its features.
type encoded struct {
	Read    []bool    `json:"read"` // by view
	Skipped []skipped `json:"skipped,omitempty"`
}

// skipped is an image that was left out.
type skipped struct {
	View int    `json:"view"`
	Why  string `json:"why"`
}

// message appends what ranks tell each other: the length of the JSON text, that text and the features.
func (e encoded) message(to, features []byte) ([]byte, error) {
	text, err := json.Marshal(e)
	to = binary.LittleEndian.AppendUint32(to, uint32(len(text)))
	return append(append(to, text...), features...), err
}

// decodeMessage reads a message about an object of so many views.
func decodeMessage(said []byte, views int) (e encoded, features []byte, err error) {
	if len(said) < 4 || uint64(len(said)) < 4+uint64(binary.LittleEndian.Uint32(said)) {
		return e, nil, fmt.Errorf("have %d bytes, want more", len(said))
	}
	text, features := said[4:][:binary.LittleEndian.Uint32(said)], said[4+binary.LittleEndian.Uint32(said):]
	if err := json.Unmarshal(text, &e); err != nil {
		return e, nil, err
	}
	outside := func(s skipped) bool { return s.View < 0 || s.View >= views }
	if len(e.Read) != views || slices.ContainsFunc(e.Skipped, outside) {
		return e, nil, fmt.Errorf("have %d views and images left out %v, want %d views", len(e.Read), e.Skipped, views)
	}
	return e, features, nil
}

// take calls use with what a rank says of an object, and leaves out the images that it could not read. That they are too
// many is an error of rank 0, which speaks for all.
func (e *encoder) take(rank int, o *dataset.Object, said []byte,
	use func(o *dataset.Object, read []bool, features []byte) error) error {
	r := e.run
	about, features, err := decodeMessage(said, len(o.Views))
	if err != nil {
		return fmt.Errorf("features of rank %d: %w", rank, err)
	}
	for _, lost := range about.Skipped {
		if rank == r.team.Rank() {
			break
		}
		err := r.data.Source.Skip(o.Views[lost.View], errors.New(lost.Why))
		if err != nil && r.team.Rank() == 0 {
			return err
		}
	}
	if e.desk != nil {
		features = e.desk.get(rank, e.turn)
	}
	return use(o, about.Read, features)
}

// encode returns the packed features of an object with the given pixels.
func (r *run) encode(s *tensor.Scope, o *dataset.Object, pixels []uint8) ([]byte, error) {
	packed := r.stepper.Model.PackImages(s, pixels, len(o.Views))
	if !memory.Finite(packed) {
		return nil, fmt.Errorf("train.cache_features: the features of %s do not fit float16; set it to off and memory.codes to 0",
			strings.ToValidUTF8(o.ID, "?"))
	}
	return packed, nil
}
