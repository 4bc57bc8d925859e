// Package checkpoint is the file that holds a run: one safetensors file with the trainable tensors under their own
// names, what training needs to continue under prefixed names, and a description of the run in the metadata
// (docs/format/checkpoint.md). A [Bundle] has the frozen encoder inside, too. A file without that metadata is taken as
// bare weights: trainable tensors only.
package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/weights"
)

// Format is the value of the metadata key "format". Earlier versions wrote formatUnsealed, and sealed bundles alone.
const (
	Format         = "mvag-torch checkpoint 2"
	formatUnsealed = "mvag-torch checkpoint 1"
)

// CalibrationKey is the metadata key of the calibration, JSON of package model/calibration. A checkpoint has none
// before training has ended. HeadsKey is that of the calibrations of what judges besides the reconstruction.
const (
	CalibrationKey = "calibration"
	HeadsKey       = "calibration.heads"
	SamplesKey     = "calibration.samples" // the scores that both rest on
)

// MemoryKey is the metadata key of what the tensors of a memory do not say, JSON of package model/memory.
const MemoryKey = "memory"

// Prefixes of the tensors that are not weights of the model.
const (
	Optimizer = "optimizer." // optimizer.m.NAME, optimizer.v.NAME, optimizer.vmax.NAME
	RNG       = "rng."       // rng.cpu, rng.cuda: generator states in files of earlier versions, which nothing reads
	Memory    = "memory."    // memory.CLASS.C1.basis, memory.CLASS.C1.codes: package model/memory
)

// Info describes the run that a checkpoint belongs to.
type Info struct {
	Config         configs.Config
	Iteration      int            // steps taken
	BackboneSHA256 string         // of the file of encoder weights
	Naming         dataset.Naming // how the names of the training images say object and camera
	// TrainLists identifies the training objects of each class, hold-out included ([dataset.Set.TrainLists]); nil in
	// files written before it existed.
	TrainLists map[string]string
	// TrainImages are the image files that training read; nil where that is unknown, as in files written before it
	// existed.
	TrainImages dataset.FileHashes
	// Depths are the bits that 16-bit training images use, where data.bits is auto; else empty.
	Depths dataset.Depths
	Memory string // the value of [MemoryKey], "" without a memory
	// Skipped are the iterations that changed nothing since their loss or gradient norm was not finite (train.on_nan).
	Skipped []int
}

// Write writes a checkpoint and seals it, see [Seal]. The file appears whole or not at all. Only then it replaces an
// earlier one, which stays as [Previous].
func Write(path string, info Info, tensors []safetensors.Tensor) error {
	text, err := configs.Marshal(info.Config)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	naming, err := json.Marshal(info.Naming)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	lists, err := json.Marshal(info.TrainLists)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	depths, err := json.Marshal(info.Depths)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	meta := map[string]string{
		"format":          Format,
		"config":          string(text),
		"iteration":       strconv.Itoa(info.Iteration),
		"backbone.sha256": info.BackboneSHA256,
		"naming":          string(naming),
		"train.lists":     string(lists),
		"depths":          string(depths),
	}
	if info.TrainImages != nil {
		images, err := info.TrainImages.MarshalText()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		meta["train.images"] = string(images)
	}
	if info.Memory != "" {
		meta[MemoryKey] = info.Memory
	}
	if len(info.Skipped) > 0 {
		skipped, err := json.Marshal(info.Skipped)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		meta["train.skipped"] = string(skipped)
	}
	if err := Seal(meta, tensors); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return safetensors.WriteChecked(path, tensors, meta, func(*safetensors.File) error { return keep(path) })
}

// File is an open checkpoint or weights file.
type File struct {
	*safetensors.File
	Path   string
	Info   *Info   // nil for bare weights
	Bundle *Bundle // nil for others
}

// ErrKind is the error of a file that is neither a checkpoint nor weights.
var ErrKind = errors.New("have another kind of file, want a checkpoint or bundle")

// Open opens a checkpoint or a bare weights file. The caller closes it. What was sealed is read as a whole and must hold
// what was written, else the error is [ErrDamaged] and names the previous checkpoint if there is one.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil && (errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist)) {
		err = fmt.Errorf("%w%s", err, OrPrevious(path))
	}
	return f, err
}

func open(path string) (*File, error) {
	st, err := safetensors.Open(path)
	switch {
	case errors.Is(err, safetensors.ErrKind) && filepath.Ext(path) == ".onnx":
		return nil, fmt.Errorf("%s: have an ONNX model, which is for other programs, want a checkpoint or bundle", path)
	case errors.Is(err, safetensors.ErrKind):
		return nil, damaged{fmt.Errorf("%s: %w", path, ErrKind)}
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
		return nil, err
	case err != nil:
		return nil, damaged{err}
	}
	f := &File{File: st, Path: path}
	if err := f.read(); err != nil {
		st.Close()
		return nil, err
	}
	return f, nil
}

// read reads the metadata.
func (f *File) read() (err error) {
	meta := f.Metadata()
	if sealed(meta) {
		if err := CheckContents(f.Path, f.File); err != nil {
			return err
		}
	}
	if f.Info, err = readInfo(meta); err == nil && f.Info != nil {
		f.Bundle, err = readBundle(f.File)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}

// IsFormat reports whether a file with this value of the metadata key "format" can be read.
func IsFormat(format string) bool { return format == Format || format == formatUnsealed }

// readInfo returns nil for the metadata of bare weights.
func readInfo(meta map[string]string) (*Info, error) {
	format := meta["format"]
	if !strings.HasPrefix(format, "mvag-torch") {
		return nil, nil // other programs may use the key "format", too
	}
	if !IsFormat(format) {
		return nil, fmt.Errorf("format: have %q, want %q", format, Format)
	}
	info := &Info{BackboneSHA256: meta["backbone.sha256"], Memory: meta[MemoryKey]}
	var err error
	if info.Iteration, err = strconv.Atoi(meta["iteration"]); err != nil || info.Iteration < 0 {
		return nil, fmt.Errorf("iteration: have %q, want a number", meta["iteration"])
	}
	if info.Config, err = readConfig(meta["config"]); err != nil {
		return nil, err
	}
	for key, value := range map[string]any{"naming": &info.Naming, "train.lists": &info.TrainLists, "depths": &info.Depths,
		"train.skipped": &info.Skipped} {
		if text, ok := meta[key]; ok { // absent from files written before it existed
			if err := json.Unmarshal([]byte(text), value); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	if text, ok := meta["train.images"]; ok {
		if err := info.TrainImages.UnmarshalText([]byte(text)); err != nil {
			return nil, fmt.Errorf("train.images: %w", err)
		}
	}
	return info, nil
}

// readConfig reads the configuration of a run. All keys are stored; a key that did not exist yet when the file was
// written has its default, except train.holdout: runs before it trained on all objects.
func readConfig(text string) (configs.Config, error) {
	cfg, err := configs.Parse("config of the checkpoint", []byte(text))
	if err != nil {
		return cfg, err
	}
	var stored struct {
		Train struct{ Holdout *float64 }
	}
	if err := yaml.Unmarshal([]byte(text), &stored); err != nil {
		return cfg, fmt.Errorf("config: %w", err)
	}
	if stored.Train.Holdout == nil {
		cfg.Train.Holdout = 0
	}
	return cfg, nil
}

// Config returns the configuration of the run, which Info has, with settings overridden as by [configs.Parse].
func (f *File) Config(sets ...string) (configs.Config, error) {
	text, err := configs.Marshal(f.Info.Config)
	if err != nil {
		return configs.Config{}, err
	}
	return configs.Parse(f.Path, text, sets...)
}

// Calibration returns the text of [CalibrationKey], "" where there is none.
func (f *File) Calibration() string { return f.Metadata()[CalibrationKey] }

// Rewrite rewrites the file with other values in the metadata, where "" removes a key, and with the given tensors for
// those whose names begin with replaced, unless that is "". It leaves everything else as it is, and seals the file anew.
// The new file appears whole or not at all; f stays open on the old one.
func (f *File) Rewrite(changes map[string]string, replaced string, tensors []safetensors.Tensor) error {
	for _, name := range f.Names() {
		if replaced != "" && strings.HasPrefix(name, replaced) {
			continue
		}
		tensors = append(tensors, f.Tensor(name))
	}
	meta := f.Metadata()
	for key, text := range changes {
		meta[key] = text
		if text == "" {
			delete(meta, key)
		}
	}
	if f.Info != nil {
		meta["format"] = Format
		if err := Seal(meta, tensors); err != nil {
			return err
		}
	}
	return safetensors.Write(f.Path, tensors, meta)
}

// Weights returns the trainable tensors.
func (f *File) Weights() (weights.Map, error) {
	return weights.Read(f.File, func(name string) (string, bool) { return name, f.Trainable(name) })
}

// Trainable reports whether the tensor belongs to the weights of the model.
func (f *File) Trainable(name string) bool {
	if f.Bundle != nil && (name == Thumbnails || strings.HasPrefix(name, Backbone)) {
		return false
	}
	return !strings.HasPrefix(name, Optimizer) && !strings.HasPrefix(name, RNG) && !strings.HasPrefix(name, Memory)
}

// Below returns the tensors whose names begin with prefix, under what follows it.
func (f *File) Below(prefix string) (weights.Map, error) {
	return weights.Read(f.File, func(name string) (string, bool) { return strings.CutPrefix(name, prefix) })
}
