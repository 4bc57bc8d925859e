// Package inspecttest makes calibrated models and images for tests of what stands on package inspect.
package inspecttest

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
)

// Views is the number of cameras of the model.
const Views = modeltest.CheckpointViews

// Trained is the class that the model was calibrated with.
const Trained = "part"

// Image is a PNG file of 60 x 50 pixels of noise, of a strength of its own from 0 to the given one, at most 1.
func Image(t *testing.T, rng *rand.Rand, strength float64) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 60, 50))
	strength *= rng.Float64()
	for i := range img.Pix {
		img.Pix[i] = uint8(128 + 127*strength*(2*rng.Float64()-1))
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Objects are n objects of a class with images of all cameras in memory, always the same.
func Objects(t *testing.T, class string, n int) []dataset.Object {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(class)), uint64(n)))
	objects := make([]dataset.Object, n)
	for i := range objects {
		objects[i] = dataset.Object{Class: class, ID: fmt.Sprint(class, "/", i)}
		for c := range Views {
			objects[i].Views = append(objects[i].Views, dataset.View{Camera: c, Data: Image(t, rng, 1)})
		}
	}
	return objects
}

// Checkpoint writes a calibrated checkpoint of a small model of random weights, which remembers classes besides.
func Checkpoint(t *testing.T, classes ...string) string {
	t.Helper()
	path := modeltest.WriteCheckpoint(t, func(info *checkpoint.Info) {
		info.TrainLists = map[string]string{Trained: "test"}
	})
	read := func() *inspect.Setup {
		u, err := inspect.Read(path, inspect.Options{Uncalibrated: true, Set: []string{"memory.codes=20", "memory.dims=4"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = u.Close() })
		return u
	}
	u := read()
	if err := u.Calibrate(t.Context(), Objects(t, Trained, 12), dataset.NewSource(u.Config.Data), "test", func(int) {}); err != nil {
		t.Fatal(err)
	}
	for _, class := range classes {
		u := read()
		_, err := u.Enroll(t.Context(), inspect.Enrollment{
			Class: class, Good: Objects(t, class, inspect.MinEnroll), Source: dataset.NewSource(u.Config.Data), From: "test",
			Remembered: func(int) {}, Judged: func(int) {},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}
