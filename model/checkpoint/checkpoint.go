// Package checkpoint is the file that holds a run: one safetensors file with
// the trainable tensors under their own names, everything needed to go on
// training under names of their own, and what the run was in the metadata
// (docs/format/checkpoint.md). A file without that metadata is taken as bare
// weights: trainable tensors only.
package checkpoint

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/weights"
)

// Format is the value of the metadata key "format".
const Format = "mvag-torch checkpoint 1"

// CalibrationKey is the metadata key of the calibration, JSON of package
// eval/calibration. A checkpoint has none before training is over.
const CalibrationKey = "calibration"

// Prefixes of the tensors that are not weights of the model.
const (
	Optimizer = "optimizer." // optimizer.m.NAME, optimizer.v.NAME, optimizer.vmax.NAME
	RNG       = "rng."       // rng.cpu, rng.cuda: generator states, uint8
)

// Info says what run a checkpoint belongs to.
type Info struct {
	Config         configs.Config
	Iteration      int    // steps taken
	BackboneSHA256 string // of the file of encoder weights
}

// Write writes a checkpoint; the file appears whole or not at all, and an
// earlier one stays until then.
func Write(path string, info Info, tensors []safetensors.Tensor) error {
	text, err := configs.Marshal(info.Config)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return safetensors.Write(path, tensors, map[string]string{
		"format":          Format,
		"config":          string(text),
		"iteration":       strconv.Itoa(info.Iteration),
		"backbone.sha256": info.BackboneSHA256,
	})
}

// File is an open checkpoint or weights file.
type File struct {
	*safetensors.File
	Path string
	Info *Info // nil for bare weights
}

// Open reads the header of a checkpoint or of a bare weights file. The caller
// closes it.
func Open(path string) (*File, error) {
	st, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{File: st, Path: path}
	if err := f.readInfo(st.Metadata()); err != nil {
		st.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func (f *File) readInfo(meta map[string]string) error {
	format, ok := meta["format"]
	if !ok || !strings.HasPrefix(format, "mvag-torch") {
		return nil // bare weights; others may use the key "format", too
	}
	if format != Format {
		return fmt.Errorf("format: have %q, want %q", format, Format)
	}
	iteration, err := strconv.Atoi(meta["iteration"])
	if err != nil || iteration < 0 {
		return fmt.Errorf("iteration: have %q, want a number", meta["iteration"])
	}
	cfg, err := configs.Parse("config of the checkpoint", []byte(meta["config"]))
	if err != nil {
		return err
	}
	if !strings.Contains(meta["config"], "holdout:") {
		cfg.Train.Holdout = 0 // stored whole before there was this setting: all objects were trained on
	}
	f.Info = &Info{cfg, iteration, meta["backbone.sha256"]}
	return nil
}

// Calibration returns the text of [CalibrationKey], "" where there is none.
func (f *File) Calibration() string { return f.Metadata()[CalibrationKey] }

// SetCalibration rewrites the file with another calibration; all else, tensor
// by tensor, stays as it is. The new file appears whole or not at all. f stays
// open on the old one.
func (f *File) SetCalibration(text string) error {
	if f.Info == nil {
		return fmt.Errorf("%s: have bare weights, want a checkpoint", f.Path)
	}
	var tensors []safetensors.Tensor
	for _, name := range f.Names() {
		dtype, shape, _ := f.File.Info(name)
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: dtype, Shape: shape, Data: func(w io.Writer) error {
			data, err := f.Bytes(name)
			if err == nil {
				_, err = w.Write(data)
			}
			return err
		}})
	}
	meta := f.Metadata()
	meta[CalibrationKey] = text
	return safetensors.Write(f.Path, tensors, meta)
}

// Weights returns the trainable tensors.
func (f *File) Weights() (weights.Map, error) {
	return f.tensors(func(name string) (string, bool) {
		return name, !strings.HasPrefix(name, Optimizer) && !strings.HasPrefix(name, RNG)
	})
}

// Below returns the tensors whose names begin with prefix, under what follows it.
func (f *File) Below(prefix string) (weights.Map, error) {
	return f.tensors(func(name string) (string, bool) { return strings.CutPrefix(name, prefix) })
}

func (f *File) tensors(pick func(name string) (string, bool)) (weights.Map, error) {
	m := weights.Map{}
	for _, name := range f.Names() {
		key, ok := pick(name)
		if !ok {
			continue
		}
		data, err := f.Float32(name)
		if err != nil {
			return nil, err
		}
		_, shape, _ := f.File.Info(name)
		m[key] = weights.Tensor{Shape: shape, Data: data}
	}
	return m, nil
}
