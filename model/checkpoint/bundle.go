package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"mvag-torch/internal/safetensors"
	"mvag-torch/model/weights"
)

// BundleKey is the metadata key of a bundle, JSON of a [Bundle]. A bundle is a checkpoint with the frozen encoder in it
// and without what only training needs.
const BundleKey = "bundle"

// Names of the tensors that only a bundle has.
const (
	Backbone   = "backbone."  // backbone.NAME: the encoder, under the names of package weights
	Thumbnails = "thumbnails" // a PNG file, uint8
)

// Bundle describes what a bundle holds besides a checkpoint.
type Bundle struct {
	Program    string     `json:"program"`              // version that made it
	Checkpoint string     `json:"checkpoint"`           // SHA-256 of the checkpoint, or bundle, that it was made from
	Backbone   Stored     `json:"backbone"`             // the encoder
	Licences   []Licence  `json:"licences"`             // of the encoder's weights; empty where none is recorded
	Thumbnails *Thumbnail `json:"thumbnails,omitempty"` // nil without
}

// Stored is the encoder of a bundle.
type Stored struct {
	Name   string            `json:"name"`   // as backbone.name
	Source string            `json:"source"` // name of the file of weights that it was made from
	Type   safetensors.DType `json:"type"`   // F32, F16 or BF16
	SHA256 string            `json:"sha256"` // of the tensors, see [weights.Map.SHA256]
	// Change is how far rounding to Type has moved a value at most, as a fraction of the largest of its tensor; 0 where the
	// values are those of Source.
	Change float64 `json:"change"`
}

// Licence is a licence of the encoder's weights.
type Licence struct {
	Name string `json:"name"`           // Apache-2.0, or the name of a file
	From string `json:"from"`           // who says so
	Text string `json:"text,omitempty"` // the licence itself, where it was given
}

// Thumbnail describes the sheet of thumbnails: a row for each object, a column for each camera.
type Thumbnail struct {
	Classes []string `json:"classes"` // of the rows, from above
	Width   int      `json:"width"`   // of the sheet, in pixels
	Height  int      `json:"height"`
}

// readBundle reads the description of a bundle; nil where the file is none.
func readBundle(f *safetensors.File) (*Bundle, error) {
	text, ok := f.Metadata()[BundleKey]
	if !ok {
		return nil, nil
	}
	var b Bundle
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	stored := func(name string) bool { return strings.HasPrefix(name, Backbone) }
	switch s := b.Backbone; {
	case !slices.Contains([]safetensors.DType{safetensors.F32, safetensors.F16, safetensors.BF16}, s.Type):
		return nil, fmt.Errorf("bundle: backbone.type: have %.40q, want F32, F16 or BF16", string(s.Type))
	case !(s.Change >= 0) || math.IsInf(s.Change, 0):
		return nil, fmt.Errorf("bundle: backbone.change: have %v, want 0 or more", s.Change)
	case !slices.ContainsFunc(f.Names(), stored):
		return nil, errors.New("bundle: have no tensors of the backbone, want them")
	}
	if _, _, ok := f.Info(Thumbnails); !ok {
		b.Thumbnails = nil
	}
	return &b, nil
}

// StoredBackbone returns the encoder of a bundle.
func (f *File) StoredBackbone() (weights.Map, error) {
	if f.Bundle == nil {
		return nil, fmt.Errorf("%s: have a checkpoint, whose backbone is in another file, want a bundle", f.Path)
	}
	return f.Below(Backbone)
}

// BackboneHash identifies the encoder of a bundle: the SHA-256 of the file of weights that it was trained with, or, where
// rounding has changed them, of its own tensors.
func (f *File) BackboneHash() string {
	if f.Bundle.Backbone.Change > 0 {
		return f.Bundle.Backbone.SHA256
	}
	return f.Info.BackboneSHA256
}
