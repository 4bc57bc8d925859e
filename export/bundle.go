package export

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/internal/interrupt"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// BundleOptions are what a bundle is made with.
type BundleOptions struct {
	Type       safetensors.DType // of the stored encoder: F32, F16 or BF16
	Licences   []checkpoint.Licence
	Thumbnails []byte                // a PNG file; nil for none
	Shown      *checkpoint.Thumbnail // what is on it
	Program    string                // version of this program
}

// Bundle writes the checkpoint f and its encoder, of [model.BackboneOf], as one file, and returns how the file describes
// itself. It has the tensors of the encoder up to the last layer that is used, and not what only training needs. cfg is
// the configuration of f, perhaps with other settings that decide no score. Of its paths only those of the data set stay,
// where eval and calibrate look for it. The file appears whole or not at all, after it has been read again and compared
// with what was meant, and not when ctx has ended before.
func Bundle(
	ctx context.Context, path string, f *checkpoint.File, cfg configs.Config, backbone *model.Backbone, opt BundleOptions,
) (*checkpoint.Bundle, error) {
	if err := Bundled(f); err != nil {
		return nil, err
	}
	used, err := usedWeights(cfg, backbone)
	if err != nil {
		return nil, err
	}
	b := &checkpoint.Bundle{Program: opt.Program, Licences: opt.Licences, Thumbnails: opt.Shown}
	if b.Checkpoint, err = model.FileSHA256(f.Path); err != nil {
		return nil, err
	}
	b.Backbone = checkpoint.Stored{Name: cfg.Backbone.Name, Source: filepath.Base(backbone.Path), Type: opt.Type}
	earlier := 0.
	if f.Bundle != nil {
		b.Backbone.Source, earlier = f.Bundle.Backbone.Source, f.Bundle.Backbone.Change
	}
	stored, rounded, change, err := round(used, opt.Type)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", backbone.Path, err)
	}
	b.Backbone.SHA256, b.Backbone.Change = rounded.SHA256(), earlier+change
	text, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	meta, err := travelling(f, cfg)
	if err != nil {
		return nil, err
	}
	meta[checkpoint.BundleKey] = string(text)
	tensors := append(kept(f), stored...)
	if opt.Thumbnails != nil {
		size := []int64{int64(len(opt.Thumbnails))}
		tensors = append(tensors, safetensors.Raw(checkpoint.Thumbnails, safetensors.U8, size, opt.Thumbnails))
	}
	if err := cmp.Or(Interrupted(ctx), checkpoint.Seal(meta, tensors)); err != nil {
		return nil, err
	}
	return b, safetensors.WriteChecked(path, tensors, meta, func(have *safetensors.File) error {
		return cmp.Or(compare(path, have, meta), Interrupted(ctx))
	})
}

// Bundled returns why the checkpoint f cannot become a bundle, nil where it can.
func Bundled(f *checkpoint.File) error {
	if f.Info == nil {
		return fmt.Errorf("%s: have bare weights, want a checkpoint", f.Path)
	}
	if b := f.Info.Config.Backbone; b.Mode == "module" {
		return fmt.Errorf("%s: backbone.mode: have module, want native for a bundle: %s (%s) is a program, and a bundle holds nothing "+
			"that is executed; copy that file with the checkpoint, or train on an architecture of mvag-torch backbone list, for which "+
			"mvag-torch backbone convert takes the weights out of such a file", f.Path, filepath.Base(b.Weights), b.Name)
	}
	return nil
}

// usedWeights are the tensors of the encoder that the configuration uses.
func usedWeights(cfg configs.Config, backbone *model.Backbone) (weights.Map, error) {
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return nil, err
	}
	layers, _, err := model.Layers(cfg, arch)
	if err != nil {
		return nil, err
	}
	last := layers[len(layers)-1]
	if err := arch.Check(backbone.Tensors.Shapes(), last); err != nil {
		return nil, fmt.Errorf("%s: %w", backbone.Path, err)
	}
	used := arch.Used(backbone.Tensors, last)
	if err := used.CheckFinite(); err != nil {
		return nil, fmt.Errorf("%s: %w", backbone.Path, err)
	}
	return used, nil
}

// travelling returns the metadata of f for a file that leaves this machine: the run folder in the configuration is the
// default, the folder of prepared images none, and of the file of encoder weights its name is left.
func travelling(f *checkpoint.File, cfg configs.Config) (map[string]string, error) {
	cfg.Output, cfg.Data.Cache, cfg.Backbone.Weights = configs.Default().Output, "", filepath.Base(cfg.Backbone.Weights)
	text, err := configs.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	meta := f.Metadata()
	meta["config"] = string(text)
	return meta, nil
}

// kept are the tensors of f without those of a training, of an encoder and thumbnails.
func kept(f *checkpoint.File) (list []safetensors.Tensor) {
	for _, name := range f.Names() {
		of := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if of(checkpoint.Optimizer) || of(checkpoint.RNG) || of(checkpoint.Backbone) || name == checkpoint.Thumbnails {
			continue
		}
		list = append(list, f.Tensor(name))
	}
	return list
}

// round returns the tensors of m in the given type, their values, and how far rounding has moved one at most, as a
// fraction of the largest of its tensor. A value that the type cannot hold is an error.
func round(m weights.Map, to safetensors.DType) (list []safetensors.Tensor, values weights.Map, change float64, err error) {
	values = weights.Map{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		t := m[name]
		if to == safetensors.F32 {
			values[name] = t
			list = append(list, safetensors.Float32(checkpoint.Backbone+name, t.Shape, t.Data))
			continue
		}
		data, back, moved, err := roundTensor(t.Data, to)
		if err != nil {
			return nil, nil, 0, fmt.Errorf("%q: %w", name, err)
		}
		change = max(change, moved)
		values[name] = weights.Tensor{Shape: t.Shape, Data: back}
		list = append(list, safetensors.Raw(checkpoint.Backbone+name, to, t.Shape, data))
	}
	return list, values, change, nil
}

// roundTensor is round for one tensor: its bytes, and the values that they stand for.
func roundTensor(values []float32, to safetensors.DType) (data []byte, back []float32, change float64, err error) {
	narrow := map[safetensors.DType]func(float32) uint16{
		safetensors.F16: safetensors.Float32ToFloat16, safetensors.BF16: safetensors.Float32ToBFloat16,
	}[to]
	if narrow == nil {
		return nil, nil, 0, fmt.Errorf("have element type %q, want F32, F16 or BF16", string(to))
	}
	data = make([]byte, 0, 2*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint16(data, narrow(v))
	}
	if back, err = safetensors.AppendFloat32(make([]float32, 0, len(values)), to, data); err != nil {
		return nil, nil, 0, err
	}
	var moved, largest float64
	for i, v := range values {
		if math.IsInf(float64(back[i]), 0) {
			return nil, nil, 0, fmt.Errorf("have %v at element %d, which is too large for %s", v, i, TypeName(to))
		}
		moved, largest = max(moved, math.Abs(float64(back[i])-float64(v))), max(largest, math.Abs(float64(v)))
	}
	if moved > 0 {
		change = moved / largest
	}
	return data, back, change, nil
}

// TypeName is what an element type is called in words.
func TypeName(d safetensors.DType) string {
	return map[safetensors.DType]string{safetensors.F32: "float32", safetensors.F16: "float16", safetensors.BF16: "bfloat16"}[d]
}

// compare compares a file with the metadata that were meant, among which is the hash of all the file holds.
func compare(path string, have *safetensors.File, meta map[string]string) error {
	if !maps.Equal(have.Metadata(), meta) {
		return fmt.Errorf("%s: read again after writing: the metadata differ from what was written", path)
	}
	if err := checkpoint.CheckContents(path, have); err != nil {
		return fmt.Errorf("read again after writing: %w", err)
	}
	return nil
}

// Interrupted is the error of a command that was stopped before its file got its name; nil where it was not.
func Interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return interrupt.Error("interrupted; nothing is written")
	}
	return nil
}
