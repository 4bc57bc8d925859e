package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mvag-torch/internal/pytorch"
	"mvag-torch/internal/tensor"
	"mvag-torch/model/weights"
)

// LoadBackbone reads pretrained weights and gives them the names of package
// weights: a safetensors file, a PyTorch state dict (.pth, whose pickle is read
// and not run), a TorchScript archive (its parameters and buffers; its code is
// not run) or an ONNX model. Which of them it is shows in the content; ONNX,
// which has no signature, goes by the ending.
func LoadBackbone(path string) (weights.Map, error) {
	kind, err := sniff(path)
	if err != nil {
		return nil, err
	}
	var m weights.Map
	switch {
	case kind == "" && filepath.Ext(path) == ".onnx":
		return weights.FromONNX(path)
	case kind == "safetensors":
		m, err = weights.FromSafetensors(path)
	case kind == "pytorch":
		if m, err = weights.FromPyTorch(path); errors.Is(err, pytorch.ErrTorchScript) {
			m, err = LoadArchive(path)
		}
	default:
		err = fmt.Errorf("%s: have none of safetensors, PyTorch state dict, TorchScript, ONNX (.onnx)", path)
	}
	if err != nil {
		return nil, err
	}
	renamed, _, err := weights.Rename(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return renamed, nil
}

// LoadFor is LoadBackbone for an architecture: without weights, and without
// reading them, where an archive is run as it is.
func LoadFor(arch weights.Arch, path string) (weights.Map, error) {
	if arch.Module != nil {
		return nil, nil
	}
	return LoadBackbone(path)
}

func sniff(path string) (kind string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 9)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	switch head = head[:n]; {
	case n == 0:
		return "", fmt.Errorf("%s: have an empty file, want weights", path)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("\x80\x02")):
		return "pytorch", nil
	case n == 9 && head[8] == '{':
		return "safetensors", nil
	}
	return "", nil
}

// LoadArchive reads the parameters and buffers of a TorchScript archive under the
// names they have there. Its code is not run.
func LoadArchive(path string) (weights.Map, error) {
	m := weights.Map{}
	err := tensor.Run(func(s *tensor.Scope) error {
		for _, found := range tensor.LoadTorchScript(s, path) {
			t := found.Tensor.To(s, tensor.Float)
			m[found.Name] = weights.Tensor{Shape: t.Shape(), Data: t.Floats()}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("%s: have a TorchScript archive without parameters, want a backbone", path)
	}
	return m, nil
}

// FileSHA256 is the SHA-256 of a file in hexadecimal.
func FileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
