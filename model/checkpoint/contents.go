package checkpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"mvag-torch/internal/safetensors"
)

// ContentsKey is the metadata key of the SHA-256 of all that a checkpoint or bundle holds, see [Seal].
const ContentsKey = "contents.sha256"

// Seal puts the SHA-256 of metadata and tensors, in hexadecimal, in the metadata. It covers all of them
// but the hash itself (docs/format/checkpoint.md). It writes each tensor to the hash, before the file is written.
func Seal(meta map[string]string, tensors []safetensors.Tensor) error {
	sum, text, count := newSum()
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if key != ContentsKey {
			text(key)
			text(meta[key])
		}
	}
	if err := hashTensors(tensors, sum, text, count); err != nil {
		return err
	}
	meta[ContentsKey] = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// newSum returns a hash and what adds a text, after its length, and a number to it.
func newSum() (sum hash.Hash, text func(string), count func(int64)) {
	sum = sha256.New()
	count = func(n int64) { _ = binary.Write(sum, binary.LittleEndian, n) } // a hash never fails
	text = func(s string) {
		count(int64(len(s)))
		_, _ = io.WriteString(sum, s)
	}
	return sum, text, count
}

// hashTensors adds tensors in the order of their names.
func hashTensors(tensors []safetensors.Tensor, sum hash.Hash, text func(string), count func(int64)) error {
	for _, t := range slices.SortedFunc(slices.Values(tensors), func(a, b safetensors.Tensor) int { return cmp.Compare(a.Name, b.Name) }) {
		text(t.Name)
		text(string(t.DType))
		count(int64(len(t.Shape)))
		for _, n := range t.Shape {
			count(n)
		}
		if err := hashData(sum, t, count); err != nil {
			return err
		}
	}
	return nil
}

// Scoring is the SHA-256, in hexadecimal, of what decides the scores of a checkpoint: its configuration, the encoder, the
// weights and the memory, but not the calibration, the optimiser and what else only training needs. It reads all of these
// tensors.
func (f *File) Scoring() (string, error) {
	sum, text, count := newSum()
	meta := f.Metadata()
	for _, key := range []string{"config", MemoryKey} {
		text(meta[key])
	}
	if f.Info != nil {
		text(f.Info.BackboneSHA256)
	}
	var tensors []safetensors.Tensor
	for _, name := range f.Names() {
		if f.Trainable(name) || strings.HasPrefix(name, Memory) || strings.HasPrefix(name, Backbone) {
			tensors = append(tensors, f.Tensor(name))
		}
	}
	err := hashTensors(tensors, sum, text, count)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// hashData adds the length and the bytes of a tensor.
func hashData(sum hash.Hash, t safetensors.Tensor, count func(int64)) error {
	n, err := safetensors.ByteLen(t.DType, t.Shape)
	if err == nil {
		count(n)
		err = t.Data(sum)
	}
	return err
}

// CheckContents returns [ErrDamaged] where a file holds something else than what was sealed. It reads the whole file.
func CheckContents(path string, f *safetensors.File) error {
	meta := f.Metadata()
	want := meta[ContentsKey]
	var tensors []safetensors.Tensor
	for _, name := range f.Names() {
		tensors = append(tensors, f.Tensor(name))
	}
	if err := Seal(meta, tensors); err != nil {
		return damaged{fmt.Errorf("%s: %w", path, err)}
	}
	if have := meta[ContentsKey]; have != want {
		return fmt.Errorf("%s: have contents of SHA-256 %.12s…, want %.12s…: %w", path, have, cmp.Or(want, "none"), ErrDamaged)
	}
	return nil
}

// sealed reports whether a file says that it is sealed. One of an unknown format is checked, too, if it has a hash: the
// format may be what is damaged.
func sealed(meta map[string]string) bool {
	_, bundle := meta[BundleKey]
	_, seal := meta[ContentsKey]
	return seal || meta["format"] == Format || meta["format"] == formatUnsealed && bundle
}
