package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/eval/report"
	"mvag-torch/internal/npy"
	"mvag-torch/internal/onnx"
	"mvag-torch/model/checkpoint"
)

// times are what differs from run to run in the files of results.
var times = regexp.MustCompile(`,"time_ms":[0-9.e+-]+`)

// starts are the lines of train.jsonl that say where a run was begun or gone on with.
var starts = regexp.MustCompile(`(?m)^\{"iteration":[0-9]+,"start":.*\n`)

// tree has the SHA-256 of each file below a folder, by its relative name; folders have "/" for it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir():
			out[name] = "/"
			return nil
		}
		data, err := os.ReadFile(path)
		switch {
		case d.Name() == "train.jsonl":
			data = starts.ReplaceAll(data, nil)
		case strings.HasSuffix(path, ".jsonl"):
			data = times.ReplaceAll(data, nil)
		}
		out[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// unreadable reads all files below a folder as those would who use them, and returns the faults.
func unreadable(dir string) (faults []string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".mvag-") { // which the next start removes
			return err
		}
		if err := readable(path); err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", path, err))
		}
		return nil
	})
	if err != nil {
		faults = append(faults, err.Error())
	}
	return faults
}

// growing are files that are written line by line, of which a kill may cut the last one.
var growing = []string{"train.jsonl", "partial.jsonl", "predictions.jsonl"}

func readable(path string) error {
	switch ext := filepath.Ext(path); {
	case strings.HasSuffix(path, ".safetensors"), ext == ".mvag":
		f, err := checkpoint.Open(path)
		if err == nil {
			f.Close()
		}
		return err
	case filepath.Base(path) == "config.yaml":
		_, err := configs.Load(path)
		return err
	case filepath.Base(path) == "results.json":
		_, err := report.Read(path)
		return err
	case ext == ".npy":
		f, err := npy.Open(path)
		if err == nil {
			f.Close()
		}
		return err
	case ext == ".onnx":
		_, err := onnx.ReadModel(path)
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	switch ext := filepath.Ext(path); ext {
	case ".png":
		_, err = png.Decode(bytes.NewReader(data))
	case ".html":
		if !bytes.HasSuffix(bytes.TrimSpace(data), []byte("</html>")) {
			err = errors.New("does not end as a page")
		}
	case ".json":
		if !json.Valid(data) {
			err = errors.New("is no JSON")
		}
	case ".jsonl":
		for line := range bytes.Lines(data) {
			cut := line[len(line)-1] != '\n' && slices.Contains(growing, filepath.Base(path))
			if !cut && len(bytes.TrimSpace(line)) > 0 && !json.Valid(line) {
				err = fmt.Errorf("has a line that is no JSON: %.40q", line)
			}
		}
	}
	return err
}
