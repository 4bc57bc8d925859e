// Package inspecttest makes calibrated models and images for tests of what stands on package inspect.
package inspecttest

import (
	"fmt"
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

// Objects are n objects of a class with images of all cameras in memory, always the same.
func Objects(t testing.TB, class string, n int) []dataset.Object {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(class)), uint64(n)))
	objects := make([]dataset.Object, n)
	for i := range objects {
		objects[i] = dataset.Object{Class: class, ID: fmt.Sprint(class, "/", i)}
		for c := range Views {
			objects[i].Views = append(objects[i].Views, dataset.View{Camera: c, Data: modeltest.Noise(t, rng)})
		}
	}
	return objects
}

// Checkpoint writes a calibrated checkpoint of a small model of random weights, which remembers classes besides.
func Checkpoint(t testing.TB, classes ...string) string {
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
