package atomicfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/checkpoint"
	"mvag-torch/serve/journal"
	"mvag-torch/train/feature"
)

// job is something that writes files. Where a system call fails in the middle, what was there or what was to be there is
// there, whole.
type job struct {
	name   string
	before func(dir string) error // what was there; without faults
	act    func(dir string) error // meets the fault
	// check looks for what should not be, after act returned e: refused is why a file cannot be read, and wrong what was
	// read and is not so, "" for nothing.
	check func(dir string, e error) (wrong string, refused error)
}

const old, new = "old content", "the new content"

func tensors(value float32) []safetensors.Tensor {
	return []safetensors.Tensor{safetensors.Float32("x", []int64{3}, []float32{value, 2, 3})}
}

func writeCheckpoint(dir string, iteration int) error {
	return checkpoint.Write(filepath.Join(dir, "checkpoint.safetensors"), checkpoint.Info{Config: configs.Default(), Iteration: iteration}, tensors(float32(iteration)))
}

var jobs = []job{
	{"atomicfile.Write",
		func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte(old), 0o644) },
		func(dir string) error {
			return atomicfile.Write(filepath.Join(dir, "a"), func(w io.Writer) error { _, err := io.WriteString(w, new); return err })
		},
		func(dir string, e error) (wrong string, refused error) {
			text, err := os.ReadFile(filepath.Join(dir, "a"))
			if err == nil && string(text) != new && (e == nil || string(text) != old) {
				wrong = fmt.Sprintf("have %q", text)
			}
			return wrong, err
		}},
	{"safetensors.Write",
		func(dir string) error { return safetensors.Write(filepath.Join(dir, "b.safetensors"), tensors(1), nil) },
		func(dir string) error { return safetensors.Write(filepath.Join(dir, "b.safetensors"), tensors(2), nil) },
		func(dir string, e error) (wrong string, refused error) {
			f, err := safetensors.Open(filepath.Join(dir, "b.safetensors"))
			if err != nil {
				return "", err
			}
			defer f.Close()
			have, err := f.Float32("x")
			if err == nil && have[0] != 2 && (e == nil || have[0] != 1) {
				wrong = fmt.Sprintf("have %v", have)
			}
			return wrong, err
		}},
	{"checkpoint.Write", func(dir string) error { return errors.Join(writeCheckpoint(dir, 1), writeCheckpoint(dir, 2)) },
		func(dir string) error { return writeCheckpoint(dir, 3) }, checkCheckpoint},
	{"feature.Store", func(dir string) error { return putFeatures(dir, 1) }, func(dir string) error { return putFeatures(dir, 2) }, checkFeatures},
	{"dataset.Prepare", func(dir string) error { return writeImages(dir) }, prepareImages, checkImages},
	{"journal", func(dir string) error { return appendEntries(dir, "one") }, func(dir string) error { return appendEntries(dir, "two") }, checkJournal},
}

// checkCheckpoint wants the latest or the one before it, and nothing that is not whole under either name.
func checkCheckpoint(dir string, e error) (wrong string, refused error) {
	path := filepath.Join(dir, "checkpoint.safetensors")
	f, why, err := checkpoint.OpenLast(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if it := f.Info.Iteration; it != 3 && (e == nil || it != 2) {
		return fmt.Sprintf("have iteration %d (%v)", it, why), nil
	}
	before, err := checkpoint.Open(checkpoint.Previous(path))
	if err == nil {
		defer before.Close()
		if it := before.Info.Iteration; e == nil && it != 2 {
			return fmt.Sprintf("have iteration %d before", it), nil
		}
	} else if e == nil || !errors.Is(err, fs.ErrNotExist) { // it may have gone while its successor was to take its place
		return "", err
	}
	return "", nil
}

var featuresHeader = feature.Header{Backbone: "abc", Layers: []int{1}, Views: 2, ViewBytes: 3000}

func putFeatures(dir string, n byte) error {
	s, err := feature.OpenFile(context.Background(), filepath.Join(dir, "features"), featuresHeader, nil)
	if err != nil {
		return err
	}
	err = s.Put(feature.Key{n}, []bool{true, true}, bytes.Repeat([]byte{n}, 6000), true)
	if err == nil {
		err = s.Seal()
	}
	return errors.Join(err, s.Close())
}

// checkFeatures wants the first record, and the second whole or damaged or not there, but nothing else for it.
func checkFeatures(dir string, e error) (wrong string, refused error) {
	s, err := feature.OpenFile(context.Background(), filepath.Join(dir, "features"), featuresHeader, nil)
	if err == nil {
		err = s.Seal()
	}
	if err != nil {
		return "", err
	}
	defer s.Close()
	for n := byte(1); n < 3; n++ {
		features := make([]byte, 6000)
		err := s.Read(feature.Key{n}, make([]bool, 2), features)
		whole := err == nil && bytes.Equal(features, bytes.Repeat([]byte{n}, 6000))
		lost := !s.Has(feature.Key{n}) || errors.Is(err, feature.ErrDamaged)
		if !whole && (n == 1 || e == nil || !lost) {
			return fmt.Sprintf("record %d: have %v", n, err), nil
		}
	}
	return "", nil
}

func imageConfig(dir string) configs.Data {
	return configs.Data{Format: "table", Root: filepath.Join(dir, "images"), Table: "list.csv", Views: 1, Fit: "squash",
		Resize: configs.Square(8), Crop: configs.Square(6), Cache: filepath.Join(dir, "cache"), Workers: 1}
}

func writeImages(dir string) error {
	root := imageConfig(dir).Root
	err := os.MkdirAll(root, 0o755)
	list := "object,camera,path,split,label\n"
	for i := range 3 {
		img := image.NewGray(image.Rect(0, 0, 9, 9))
		for j := range img.Pix {
			img.Pix[j] = uint8(i * j)
		}
		var text bytes.Buffer
		name := fmt.Sprintf("%d.png", i)
		err = errors.Join(err, png.Encode(&text, img), os.WriteFile(filepath.Join(root, name), text.Bytes(), 0o644))
		list += fmt.Sprintf("%d,1,%s,train,good\n", i, name)
	}
	return errors.Join(err, os.WriteFile(filepath.Join(root, "list.csv"), []byte(list), 0o644))
}

func prepareImages(dir string) error {
	cfg := imageConfig(dir)
	cfg.Cache = ""
	set, err := dataset.Open(cfg)
	if err != nil {
		return err
	}
	return dataset.Prepare(context.Background(), imageConfig(dir), set, dataset.PrepareOptions{})
}

// checkImages prepares what is missing, and compares all pixels with those of the files.
func checkImages(dir string, e error) (wrong string, refused error) {
	cfg := imageConfig(dir)
	files := cfg
	files.Cache = ""
	from, err := dataset.Open(files)
	var cached *dataset.Set
	if err == nil && e != nil {
		err = prepareImages(dir)
	}
	if err == nil {
		cached, err = dataset.Open(cfg)
	}
	if err != nil {
		return "", err
	}
	defer cached.Source.Cache.Close()
	for _, o := range cached.Train {
		a, b := make([]uint8, 3*6*6), make([]uint8, 3*6*6)
		_, _, err := cached.Source.Image(o.Views[0], a)
		if err == nil {
			_, _, err = from.Source.Image(o.Views[0], b)
		}
		if err != nil || !bytes.Equal(a, b) {
			return fmt.Sprintf("%s: the pixels differ, error %v", o.ID, err), nil
		}
	}
	return "", nil
}

func openJournal(dir string) (*journal.Journal, error) {
	return journal.Open(filepath.Join(dir, "journal.db"), journal.Options{To: []string{"lines"}})
}

func appendEntries(dir, key string) error {
	j, err := openJournal(dir)
	if err != nil {
		return err
	}
	_, _, err = j.Append(key, func(string) ([]byte, error) { return []byte("record " + key), nil })
	return errors.Join(err, j.Close())
}

// checkJournal wants the first entry, and the second unless it failed.
func checkJournal(dir string, e error) (wrong string, refused error) {
	j, err := openJournal(dir)
	if err != nil {
		return "", err
	}
	defer j.Close()
	for _, key := range []string{"one", "two"} {
		entry, ok, err := j.ByKey(key)
		if err != nil {
			return "", err
		}
		if ok && string(entry.Data) != "record "+key || !ok && (key == "one" || e == nil) {
			return fmt.Sprintf("entry %q: have %q, %v", key, entry.Data, ok), nil
		}
	}
	return "", nil
}
