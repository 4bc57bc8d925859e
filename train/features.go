package train

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/lock"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/train/feature"
)

// cache holds what the frozen encoder gives for the training objects (train.cache_features), which never changes since
// images are not augmented. It is computed once, one whole object at a time, so that the bits do not depend on which
// other objects were missing and a resumed run goes on with the same ones.
type cache struct {
	store     *feature.Store
	keeper    int // the rank that puts what this one reads
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
	c, missing, err := r.openCache()
	if err == nil {
		err = r.fill(s, c, missing)
	}
	if err != nil {
		return nil, errors.Join(err, c.store.Close())
	}
	mine := r.part().Of(order)
	f := newFeatureFeed(r.ctx, mender{r, s, c}, mine, r.done, cfg.Train.Iterations, cfg.Data.Prefetch)
	r.again = func(it int) (*Batch, error) { return f.mended(f.read(it, mine(it))) }
	return f, nil
}

// openCache opens the store of train.cache_features and identifies each training object in it. It returns those that it
// does not have. Over ranks, rank 0 decides both: files may have other times on other hosts. The cache has a store to
// close, or nil, where there is an error, too.
func (r *run) openCache() (c *cache, missing []bool, err error) {
	c = &cache{keys: make(map[*dataset.Object]feature.Key, len(r.tiles)), viewBytes: r.stepper.Model.PackedBytes()}
	if c.keeper, err = r.keeper(); err != nil {
		return c, nil, err
	}
	const size = len(feature.Key{}) + 1
	var list []byte
	err = r.openStore(c)
	for i := range r.tiles {
		if err != nil || r.team.Rank() > 0 {
			break
		}
		var key feature.Key
		key, err = keyOf(r.data.Source, &r.tiles[i])
		list = append(list, key[:]...)
		list = append(list, 0)
		if !c.store.Has(key) {
			list[len(list)-1] = 1
		}
	}
	said, err := r.team.Meet(list, err)
	if err != nil {
		return c, nil, err
	}
	if have, want := len(said[0]), len(r.tiles)*size; have != want {
		return c, nil, fmt.Errorf("train.cache_features: rank 0 has %d training objects or tiles, want %d", have/size, len(r.tiles))
	}
	missing = make([]bool, len(r.tiles))
	for i := range r.tiles {
		entry := said[0][i*size:][:size]
		c.keys[&r.tiles[i]], missing[i] = feature.Key(entry[:size-1]), entry[size-1] != 0
	}
	return c, missing, nil
}

// featureHeader says what decides the features besides images.
func (r *run) featureHeader() (feature.Header, error) {
	m := r.stepper.Model
	layers, fuse, err := model.Layers(r.cfg, m.Encoder.Arch)
	return feature.Header{Backbone: r.backbone, Layers: layers, Fuse: fuse, Settings: configs.Deciding(r.cfg, configs.Features),
		Views: r.cfg.Data.Views, ViewBytes: m.PackedBytes()}, err
}

// openStore opens the store where this rank keeps it, else a view of it.
func (r *run) openStore(c *cache) error {
	cfg := r.cfg
	header, err := r.featureHeader()
	if err != nil {
		return err
	}
	folder := ""
	if cfg.Train.CacheFeatures == "disk" {
		folder = filepath.Join(cfg.Output, "features")
	}
	switch {
	case c.keeper != r.team.Rank():
		c.store, err = feature.NewView(folder, header)
	case folder == "":
		c.store, err = feature.NewMemory(header)
	default:
		c.store, err = feature.OpenFile(r.ctx, folder, header, func(held *lock.Held) {
			r.sink.Notice(fmt.Sprintf("waiting for the features of another run: %v", held))
		})
		if err == nil && c.store.Warning() != "" {
			r.sink.Notice(c.store.Warning())
		}
	}
	return err
}

// identity tells machines apart that do not share memory. Tests replace it.
var identity = machine.Identity

// keeper returns the rank whose store this one reads: rank 0 writes a file, and in memory each machine has one copy.
func (r *run) keeper() (int, error) {
	if r.cfg.Train.CacheFeatures == "disk" {
		return 0, nil
	}
	mine := identity()
	said, err := r.team.Meet([]byte(mine), nil)
	if err != nil {
		return 0, err
	}
	return slices.IndexFunc(said, func(machine []byte) bool { return string(machine) == mine }), nil
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

// fill computes the features that the store does not have, fits the memory and lets all ranks see the store.
func (r *run) fill(s *tensor.Scope, c *cache, missing []bool) error {
	var lacking []dataset.Object
	var keys []feature.Key // of lacking
	whose, err := -1, error(nil)
	for i := range r.tiles {
		o := &r.tiles[i]
		if o.Tile <= 1 { // the first of an object, whose images one rank notes
			whose = (whose + 1) % r.team.Size()
		}
		if missing[i] {
			lacking, keys = append(lacking, *o), append(keys, c.keys[o])
		} else if whose == r.team.Rank() && err == nil {
			err = r.data.Source.NoteUnread(o)
		}
	}
	keyOf := make(map[*dataset.Object]feature.Key, len(lacking))
	for i := range lacking {
		keyOf[&lacking[i]] = keys[i]
	}
	bytes := int64(0)
	if err == nil && c.keeper == r.team.Rank() {
		bytes, err = c.store.Room(len(lacking))
	}
	if err := r.agree(err); err != nil {
		return err
	}
	fitter := r.fitter()
	n := len(r.data.Train)
	progress := Features{Objects: n, Done: n - len(wholes(lacking)), Bytes: bytes, Path: c.store.Path()}
	err = r.encodeAll(s, lacking, progress, func(o *dataset.Object, read []bool, features []byte) error {
		err := r.unchanged(o, keyOf[o])
		if err == nil {
			err = c.store.Put(keyOf[o], read, features, whole(o, read))
		}
		return errors.Join(err, fitter.Add(o, read, features))
	})
	if err == nil {
		err = r.share(c, func() error { return r.refit(mender{r, s, c}, missing, fitter) })
	}
	if err == nil {
		r.remember(fitter)
	}
	return err
}

// unchanged checks on rank 0 that an object that was just read still has the key that all know.
func (r *run) unchanged(o *dataset.Object, key feature.Key) error {
	if r.team.Rank() > 0 {
		return nil
	}
	now, err := keyOf(r.data.Source, o)
	if err == nil && now != key {
		err = fmt.Errorf("%s: an image of this object has changed since the run began; start again", strings.ToValidUTF8(o.ID, "?"))
	}
	return err
}

// refit hands what was stored before to fitter, which may be nil.
func (r *run) refit(m mender, missing []bool, fitter *model.Fitter) error {
	if fitter == nil {
		return nil
	}
	read, features := make([]bool, r.cfg.Data.Views), make([]byte, r.cfg.Data.Views*m.cache.viewBytes)
	for i := range r.tiles {
		if o := &r.tiles[i]; !missing[i] {
			err := m.stored(o, read, features)
			if err == nil {
				err = fitter.Add(o, read, features)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// share ends writing, calls then, and opens the store on the ranks that have a view of it.
func (r *run) share(c *cache, then func() error) error {
	var mine []byte
	err := error(nil)
	if c.keeper == r.team.Rank() {
		if err = c.store.Seal(); err == nil {
			mine, err = json.Marshal(c.store.Place())
		}
	}
	if err == nil {
		err = then()
	}
	said, err := r.team.Meet(mine, err)
	if err != nil {
		return err
	}
	if c.keeper != r.team.Rank() {
		err = r.attach(c, said[c.keeper])
	}
	return r.agree(err)
}

// attach opens the store of another rank, whose place is given.
func (r *run) attach(c *cache, text []byte) error {
	var place feature.Place
	if err := json.Unmarshal(text, &place); err != nil {
		return err
	}
	err := c.store.Attach(place)
	if err == nil && slices.ContainsFunc(slices.Collect(maps.Values(c.keys)), func(k feature.Key) bool { return !c.store.Has(k) }) {
		err = fmt.Errorf("%s: have another file: %w", c.store.Path(), fs.ErrNotExist)
	}
	switch {
	case err == nil:
		return nil
	case c.store.Path() == "":
		return fmt.Errorf("train.cache_features: cannot see the features in memory of rank %d; disk keeps them in a file: %w", c.keeper, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("train.cache_features: rank 0 has written %s; want output in a folder that all hosts share, or ram: %w",
			place.Path, err)
	}
	return err
}

// agree ends all ranks where one has failed.
func (r *run) agree(err error) error {
	_, err = r.team.Meet(nil, err)
	return err
}

// fits tells whether a memory is to be fitted: the run wants one and has none.
func (r *run) fits() bool { return r.cfg.Memory.Codes > 0 && r.memory == nil }

// fitter prepares to fit a memory, on rank 0; nil where there is nothing to fit.
func (r *run) fitter() *model.Fitter {
	if !r.fits() || r.team.Rank() > 0 {
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
	if !r.fits() {
		return nil
	}
	fitter := r.fitter()
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
