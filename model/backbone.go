package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"mvag-torch/internal/pytorch"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// Backbone is a file of pretrained weights.
type Backbone struct {
	Path, Kind string
	SHA256     string         // of the file, hexadecimal
	Types      map[string]int // number of tensors of each type; nil of ONNX, which is read as float32
	Tensors    weights.Map    // under the names of the file
}

// ReadBackbone reads a safetensors file, a PyTorch state dict (.pth, whose pickle is parsed and not run), a TorchScript
// archive (its parameters and buffers; its code is not run) or an ONNX model. Which of them it is shows in the content;
// ONNX, which has no signature, goes by the ending. Weights and hash come from one read of the file where its layout
// allows.
func ReadBackbone(path string) (*Backbone, error) {
	file, err := openHashed(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := &Backbone{Path: path}
	if err := b.read(file); err != nil {
		return nil, err
	}
	b.SHA256, err = file.sum()
	return b, err
}

// LoadBackbone returns the weights of a file under the names of package weights, and the file's SHA-256.
func LoadBackbone(path string) (m weights.Map, sha256 string, err error) {
	b, err := ReadBackbone(path)
	if err != nil {
		return nil, "", err
	}
	if m, _, err = weights.Rename(b.Tensors); err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, err)
	}
	return m, b.SHA256, nil
}

func (b *Backbone) read(file *hashed) (err error) {
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
			return b.readArchive()
		}
		if err != nil {
			return err
		}
		return b.readTensors(f)
	case len(head) == 9 && head[8] == '{':
		b.Kind = "safetensors"
		f, err := safetensors.New(b.Path, file, file.size)
		if err != nil {
			return err
		}
		return b.readTensors(f)
	case filepath.Ext(b.Path) == ".onnx":
		b.Kind = "ONNX"
		b.Tensors, err = weights.FromONNX(b.Path)
		return err
	}
	return fmt.Errorf("%s: have none of safetensors, PyTorch state dict, TorchScript, ONNX (.onnx)", b.Path)
}

func (b *Backbone) readTensors(f weights.File) (err error) {
	b.Types = map[string]int{}
	for _, name := range f.Names() {
		dtype, _, _ := f.Info(name)
		b.Types[string(dtype)]++
	}
	b.Tensors, err = weights.Read(f, nil)
	return err
}

// readArchive reads the parameters and buffers of a TorchScript archive.
func (b *Backbone) readArchive() error {
	b.Types, b.Tensors = map[string]int{}, weights.Map{}
	err := tensor.Run(func(s *tensor.Scope) error {
		for _, found := range tensor.LoadTorchScript(s, b.Path) {
			b.Types[found.Tensor.DType().String()]++
			t := found.Tensor.To(s, tensor.Float)
			b.Tensors[found.Name] = weights.Tensor{Shape: t.Shape(), Data: t.Floats()}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", b.Path, err)
	}
	if len(b.Tensors) == 0 {
		return fmt.Errorf("%s: have a TorchScript archive without parameters, want a backbone", b.Path)
	}
	return nil
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
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for a writer
		return nil, fmt.Errorf("%s: have a folder or special file, want a regular file", path)
	}
	file, err := os.Open(path)
	return &hashed{File: file, size: info.Size(), hash: sha256.New()}, err
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
