package model

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/internal/onnx"
	"mvag-torch/internal/pytorch"
	"mvag-torch/internal/regularfile"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// Backbone is a file of pretrained weights.
type Backbone struct {
	Path, Kind string
	SHA256     string               // of the file, hexadecimal
	Types      map[string]int       // number of tensors of each type; nil of ONNX, which is read as float32
	Elements   int                  // in all tensors
	Tensors    weights.Map          // the encoder, under the names of package weights
	Names      weights.Names        // how the file names them
	Ignored    []string             // tensors that do not belong to it
	Archive    weights.Map          // all tensors of a TorchScript archive, under the names of the file
	Fault      error                // why Tensors are those of the archive, whose code may still be of use
	Licences   []checkpoint.Licence // that the file records
}

// BackboneOf returns the encoder weights that go with f, which may be nil. A bundle has them inside. All others have them
// in the file of b; one that the checkpoint f was not trained with is an error. The hash of a bundle's backbone is that
// of the file that it was trained with, unless rounding has changed the weights since.
func BackboneOf(f *checkpoint.File, b configs.Backbone) (*Backbone, error) {
	if f != nil && f.Bundle != nil {
		m, err := f.StoredBackbone()
		return &Backbone{Path: f.Path, Kind: "bundle", SHA256: f.BackboneHash(), Tensors: m, Licences: f.Bundle.Licences}, err
	}
	read, err := ReadBackbone(b.Weights, b.Prefix)
	if err == nil {
		err = cmp.Or(read.Fault, sameBackbone(f, b.Weights, read.SHA256))
	}
	return read, err
}

// sameBackbone returns an error where the checkpoint f was trained with other encoder weights than those of the file at
// path.
func sameBackbone(f *checkpoint.File, path, sha256 string) error {
	if f == nil || f.Info == nil || f.Info.BackboneSHA256 == sha256 {
		return nil
	}
	return fmt.Errorf("%s: have the backbone %s of SHA-256 %.12s…, want that which the checkpoint was made with (%.12s…): "+
		"backbone.weights names another file, or it has changed since", f.Path, path, sha256, f.Info.BackboneSHA256)
}

// ReadBackbone reads a safetensors file, a PyTorch state dict (.pth, whose pickle is parsed and not run), a TorchScript
// archive (its parameters and buffers; its code is not run) or an ONNX model. Which of them it is shows in the content;
// ONNX, which has no signature, goes by the ending. Weights and hash come from one read of the file where its layout
// allows. In a file of several encoders, prefix tells which, see [weights.FindNames].
func ReadBackbone(path, prefix string) (*Backbone, error) {
	file, err := openHashed(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := &Backbone{Path: path}
	if err := b.read(file, prefix); err != nil {
		return nil, err
	}
	b.SHA256, err = file.sum()
	return b, err
}

// LoadBackbone returns the weights of a file under the names of package weights, and the file's SHA-256.
func LoadBackbone(path, prefix string) (m weights.Map, sha256 string, err error) {
	b, err := ReadBackbone(path, prefix)
	if err == nil {
		err = b.Fault
	}
	if err != nil {
		return nil, "", err
	}
	return b.Tensors, b.SHA256, nil
}

func (b *Backbone) read(file *hashed, prefix string) (err error) {
	head := make([]byte, min(9, file.size))
	if _, err := file.File.ReadAt(head, 0); err != nil {
		return fmt.Errorf("%s: %w", b.Path, err)
	}
	switch {
	case file.size == 0:
		return fmt.Errorf("%s: have an empty file, want weights", b.Path)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("\x80\x02")):
		b.Kind = "PyTorch state dict"
		f, err := pytorch.New(b.Path, file, file.size)
		if errors.Is(err, pytorch.ErrTorchScript) {
			b.Kind = "TorchScript"
			return b.readArchive(prefix)
		}
		if err != nil {
			return err
		}
		return b.readTensors(f, prefix)
	case len(head) == 9 && head[8] == '{':
		b.Kind = "safetensors"
		f, err := safetensors.New(b.Path, file, file.size)
		if err != nil {
			return err
		}
		meta := f.Metadata()
		if err := notModel(b.Path, meta); err != nil {
			return err
		}
		b.licensed(cmp.Or(meta["licence"], meta["license"]))
		return b.readTensors(f, prefix)
	case filepath.Ext(b.Path) == ".onnx":
		b.Kind = "ONNX"
		if b.Tensors, err = weights.FromONNX(b.Path); err != nil {
			if origin, _ := onnx.ReadOrigin(b.Path); origin.Metadata["mvag-torch"] != "" {
				return fmt.Errorf("%s: have an ONNX model of mvag-torch export, which is a whole model, want the weights of a backbone", b.Path)
			}
		}
		for _, t := range b.Tensors {
			b.Elements += len(t.Data)
		}
		return err
	}
	return fmt.Errorf("%s: have none of safetensors, PyTorch state dict, TorchScript, ONNX (.onnx)", b.Path)
}

// notModel returns an error where metadata are those of a whole model.
func notModel(path string, meta map[string]string) error {
	if !checkpoint.IsFormat(meta["format"]) {
		return nil
	}
	kind := "checkpoint"
	if _, ok := meta[checkpoint.BundleKey]; ok {
		kind = "bundle"
	}
	return fmt.Errorf("%s: have a %s, which is a whole model, want the weights of a backbone", path, kind)
}

func (b *Backbone) readTensors(f weights.File, prefix string) (err error) {
	b.Types = map[string]int{}
	for _, name := range f.Names() {
		dtype, shape, _ := f.Info(name)
		b.Types[string(dtype)]++
		elements := 1
		for _, n := range shape {
			elements *= int(n)
		}
		b.Elements += elements
	}
	if b.Names, err = weights.FindNames(f.Names(), prefix); err == nil {
		b.Tensors, b.Ignored, err = b.Names.Encoder(f)
	}
	return b.named(err)
}

// named returns an error with the path in front.
func (b *Backbone) named(err error) error {
	if err == nil || strings.HasPrefix(err.Error(), b.Path+": ") {
		return err
	}
	return fmt.Errorf("%s: %w", b.Path, err)
}

// readArchive reads the parameters and buffers of a TorchScript archive.
func (b *Backbone) readArchive(prefix string) error {
	b.Types, b.Archive = map[string]int{}, weights.Map{}
	if m, err := weights.ReadModule(b.Path); err == nil && m.Licence != "not stated by timm" { // as the exporter has it
		b.licensed(m.Licence)
	}
	err := tensor.Run(func(s *tensor.Scope) error {
		for _, found := range tensor.LoadTorchScript(s, b.Path) {
			b.Types[found.Tensor.DType().String()]++
			t := found.Tensor.To(s, tensor.Float)
			b.Archive[found.Name] = weights.Tensor{Shape: t.Shape(), Data: t.Floats()}
			b.Elements += len(b.Archive[found.Name].Data)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", b.Path, err)
	}
	if len(b.Archive) == 0 {
		return fmt.Errorf("%s: have a TorchScript archive without parameters, want a backbone", b.Path)
	}
	b.Tensors, b.Names, b.Ignored, err = weights.Rename(b.Archive, prefix)
	if err != nil {
		b.Tensors, b.Fault = b.Archive, b.named(err)
	}
	return nil
}

// licensed notes a licence that the file records, unless it is "".
func (b *Backbone) licensed(name string) {
	if name != "" {
		b.Licences = append(b.Licences, checkpoint.Licence{Name: name, From: filepath.Base(b.Path)})
	}
}

// FileSHA256 is the SHA-256 of a file in hexadecimal.
func FileSHA256(path string) (string, error) {
	file, err := openHashed(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	return file.sum()
}

// hashed is a file that is hashed as it is read in order. What was read in another order is read again by sum.
type hashed struct {
	*os.File
	size, done int64 // bytes in all, and of those hashed
	hash       hash.Hash
}

func openHashed(path string) (*hashed, error) {
	file, size, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	return &hashed{File: file, size: size, hash: sha256.New()}, nil
}

// ReadAt hashes what it reads right behind what has been hashed.
func (f *hashed) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	if offset == f.done {
		f.hash.Write(p[:n])
		f.done += int64(n)
	}
	return n, err
}

// sum hashes the rest of the file.
func (f *hashed) sum() (string, error) {
	if _, err := io.Copy(f.hash, io.NewSectionReader(f.File, f.done, f.size-f.done)); err != nil {
		return "", fmt.Errorf("%s: %w", f.Name(), err)
	}
	return hex.EncodeToString(f.hash.Sum(nil)), nil
}
