package train

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/train/feature"
)

// The encoder is frozen and pictures are not augmented, so what it gives for a
// picture never changes. With train.cache_features it is computed once, by
// whole objects, one at a time: so the bits do not depend on which other objects
// were missing, and a resumed run goes on with the very same.

// featureFolder is where runs of one output folder share features.
func featureFolder(cfg configs.Config) string { return filepath.Join(cfg.Output, "features") }

// viewBytes is the size of the features of a picture.
func viewBytes(m *model.Model) int { return int(m.PackedRows()) * m.Encoder.Arch.Dim * 2 }

// openFeatures returns the store of train.cache_features, and the identity of
// each training object in it.
func (r *run) openFeatures(m *model.Model) (*feature.Store, map[*dataset.Object]feature.Print, error) {
	cfg := r.cfg
	layers, fuse, err := model.Layers(cfg, m.Encoder.Arch)
	if err != nil {
		return nil, nil, err
	}
	header := feature.Header{Backbone: r.hash, Name: cfg.Backbone.Name, Layers: layers, Fuse: fuse,
		Resize: cfg.Data.Resize, Crop: cfg.Data.Crop, Exif: cfg.Data.Exif, Decode: cfg.Data.Decode, Precision: cfg.Precision,
		Views: cfg.Data.Views, ViewBytes: viewBytes(m)}
	prints := make(map[*dataset.Object]feature.Print, len(r.data.Train))
	for i := range r.data.Train {
		o := &r.data.Train[i]
		if prints[o], err = printOf(o); err != nil {
			return nil, nil, err
		}
	}
	if cfg.Train.CacheFeatures == "ram" {
		return feature.NewMemory(header), prints, nil
	}
	store, err := feature.OpenFile(featureFolder(cfg), header)
	return store, prints, err
}

// printOf identifies an object by its name and its files: their paths, sizes
// and times of change. A file need not be there: the picture may be in
// data.cache.
func printOf(o *dataset.Object) (p feature.Print, err error) {
	hash := sha256.New()
	text := json.NewEncoder(hash)
	err = text.Encode(o.ID)
	for _, v := range o.Views {
		var size, changed int64
		if info, missing := os.Stat(v.Path); missing == nil {
			size, changed = info.Size(), info.ModTime().UnixNano()
		}
		err = errors.Join(err, text.Encode([]any{v.Camera, v.Path, v.Part, v.Parts, size, changed}))
	}
	copy(p[:], hash.Sum(nil))
	return p, err
}

// fillFeatures computes the features that the store lacks.
func (r *run) fillFeatures(s *tensor.Scope, store *feature.Store, prints map[*dataset.Object]feature.Print) error {
	var lacking []dataset.Object
	var as []feature.Print // of those
	for i := range r.data.Train {
		if print := prints[&r.data.Train[i]]; !store.Has(print) {
			lacking, as = append(lacking, r.data.Train[i]), append(as, print)
		}
	}
	bytes, err := store.Room(len(lacking))
	if err != nil {
		return err
	}
	progress := Features{Objects: len(r.data.Train), Done: len(r.data.Train) - len(lacking), Bytes: bytes, Path: store.Path()}
	r.sink.Features(progress)
	if len(lacking) == 0 {
		return store.Seal()
	}
	opt := r.loading()
	opt.Objects, opt.Start, opt.Count = 1, 0, 0
	loader, err := dataset.NewEvalLoader(r.ctx, lacking, opt)
	if err != nil {
		return err
	}
	defer loader.Close()
	for {
		batch, err := loader.Next()
		if errors.Is(err, io.EOF) {
			return store.Seal()
		}
		if err != nil {
			return err
		}
		features, err := r.encode(s, batch)
		if err != nil {
			return err
		}
		if err := store.Put(as[batch.Index], batch.Present, features); err != nil {
			return err
		}
		loader.Recycle(batch)
		progress.Done++
		r.sink.Features(progress)
	}
}

// encode returns the packed features of the one object of a batch.
func (r *run) encode(s *tensor.Scope, batch *dataset.Batch) ([]byte, error) {
	packed := r.stepper.Pack(s, batch)
	for i := 1; i < len(packed); i += 2 { // little-endian float16: all exponent bits are set
		if packed[i]&0x7c == 0x7c {
			return nil, fmt.Errorf("train.cache_features: the features of %s do not fit float16; set it to off", strings.ToValidUTF8(batch.Objects[0].ID, "?"))
		}
	}
	return packed, nil
}
