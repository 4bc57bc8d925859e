package train

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/memory"
	"mvag-torch/train/feature"
)

// cache holds what the frozen encoder gives for the training objects (train.cache_features), which never changes since
// images are not augmented. It is computed once, one whole object at a time, so that the bits do not depend on which
// other objects were missing and a resumed run goes on with the same ones.
type cache struct {
	store     *feature.Store
	keys      map[*dataset.Object]feature.Key
	viewBytes int
}

// cachedFeed fills the cache and reads the batches of the remaining steps from it.
func (r *run) cachedFeed(s *tensor.Scope) (feed, error) {
	cfg := r.cfg
	order, err := dataset.TrainOrder(r.tiles, cfg.Train.Objects, cfg.Seed)
	if err != nil {
		return nil, err
	}
	c, err := r.openCache()
	if err != nil {
		return nil, err
	}
	fitter := r.fitter()
	if err := r.fill(s, c, fitter); err != nil {
		return nil, errors.Join(err, c.store.Close())
	}
	r.remember(fitter)
	return newFeatureFeed(r.ctx, c, order, r.done, cfg.Train.Iterations, cfg.Data.Prefetch), nil
}

// openCache opens the store of train.cache_features and identifies each training object in it.
func (r *run) openCache() (*cache, error) {
	cfg, m := r.cfg, r.stepper.Model
	layers, fuse, err := model.Layers(cfg, m.Encoder.Arch)
	if err != nil {
		return nil, err
	}
	header := feature.Header{Backbone: r.backbone, Layers: layers, Fuse: fuse,
		Settings: configs.Deciding(cfg, configs.Features),
		Views:    cfg.Data.Views, ViewBytes: m.PackedBytes()}
	c := &cache{keys: make(map[*dataset.Object]feature.Key, len(r.tiles)), viewBytes: m.PackedBytes()}
	for i := range r.tiles {
		o := &r.tiles[i]
		if c.keys[o], err = keyOf(r.data.Source, o); err != nil {
			return nil, err
		}
	}
	if cfg.Train.CacheFeatures == "ram" {
		c.store = feature.NewMemory(header)
		return c, nil
	}
	c.store, err = feature.OpenFile(filepath.Join(cfg.Output, "features"), header)
	return c, err
}

// keyOf identifies an object by its name, its tile and its image files ([dataset.Source.Stamps]), which may exist in
// data.cache only.
func keyOf(source dataset.Source, o *dataset.Object) (key feature.Key, err error) {
	hash := sha256.New()
	text := json.NewEncoder(hash)
	err = text.Encode(o.ID)
	if o.Tile > 0 {
		err = errors.Join(err, text.Encode(o.Tile))
	}
	for _, v := range o.Views {
		image, _ := source.Stamps(v)
		err = errors.Join(err, text.Encode([]any{v.Camera, image, v.Part, v.Parts, v.Bits}))
	}
	copy(key[:], hash.Sum(nil))
	return key, err
}

// fill computes the features that the store does not have and hands all of them to fitter, which may be nil.
func (r *run) fill(s *tensor.Scope, c *cache, fitter *model.Fitter) error {
	var missing, stored []dataset.Object
	for i := range r.tiles {
		o := &r.tiles[i]
		if !c.store.Has(c.keys[o]) {
			missing = append(missing, *o)
			continue
		}
		stored = append(stored, *o)
		if err := r.data.Source.NoteUnread(o); err != nil {
			return err
		}
	}
	bytes, err := c.store.Room(len(missing))
	if err != nil {
		return err
	}
	n := len(r.data.Train)
	progress := Features{Objects: n, Done: n - len(wholes(missing)), Bytes: bytes, Path: c.store.Path()}
	err = r.encodeAll(s, missing, progress, func(o *dataset.Object, read []bool, features []byte) error {
		key, err := keyOf(r.data.Source, o)
		if err == nil {
			err = c.store.Put(key, read, features, whole(o, read))
		}
		return errors.Join(err, fitter.Add(o, read, features))
	})
	if err == nil {
		err = c.store.Seal()
	}
	if err != nil || fitter == nil {
		return err
	}
	views := r.cfg.Data.Views
	features := make([]byte, views*c.viewBytes)
	for i := range stored {
		key, err := keyOf(r.data.Source, &stored[i])
		read := make([]bool, views)
		if err == nil {
			err = c.store.Read(key, read, features)
		}
		if err == nil {
			err = fitter.Add(&stored[i], read, features)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

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

// encodeAll computes the packed features of objects, one at a time, and calls use for each. Images are decoded once for
// all tiles of an object.
func (r *run) encodeAll(s *tensor.Scope, objects []dataset.Object, progress Features,
	use func(o *dataset.Object, read []bool, features []byte) error) error {
	r.sink.Features(progress)
	if len(objects) == 0 {
		return nil
	}
	groups, pixels := wholes(objects), []uint8(nil)
	list := make([]dataset.Object, len(groups))
	for i, tiles := range groups {
		list[i] = tiles[0].Whole()
	}
	loader, err := dataset.NewEvalLoader(r.ctx, list, r.encoding())
	if err != nil {
		return err
	}
	defer loader.Close()
	for {
		batch, err := loader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range groups[batch.Index] {
			o := &groups[batch.Index][i]
			pixels = batch.TilePixels(max(0, o.Tile-1), pixels)
			features, err := r.encode(s, o, pixels)
			if err == nil {
				err = use(o, batch.Present, features)
			}
			if err != nil {
				return err
			}
		}
		loader.Recycle(batch)
		progress.Done++
		r.sink.Features(progress)
	}
}

// fitter prepares to fit a memory; nil where the run has one or wants none.
func (r *run) fitter() *model.Fitter {
	if r.cfg.Memory.Codes == 0 || r.memory != nil {
		return nil
	}
	return r.stepper.Model.NewFitter(r.tiles, r.cfg.Memory, r.alone)
}

// remember takes the memory that was fitted, if there was any to fit.
func (r *run) remember(fitter *model.Fitter) {
	if fitter != nil {
		r.memory = fitter.Memory
		r.sink.Remembered(r.memory)
	}
}

// encodeToRemember fits the memory in a pass of its own, where features are not kept.
func (r *run) encodeToRemember(s *tensor.Scope) error {
	fitter := r.fitter()
	if fitter == nil {
		return nil
	}
	err := r.encodeAll(s, r.tiles, Features{Objects: len(r.data.Train), Memory: true}, fitter.Add)
	if err == nil {
		r.remember(fitter)
	}
	return err
}

// whole tells whether all images of an object were read. Where one was skipped (data.on_error), other runs try again.
func whole(o *dataset.Object, read []bool) bool {
	for i, v := range o.Views {
		if v.Present() != read[i] {
			return false
		}
	}
	return true
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
