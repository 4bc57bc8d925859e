package main

import (
	"fmt"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/model/checkpoint"
)

// TestHoldoutOf draws the hold-out only from the objects that the run drew it from. A data set of other objects was
// drawn from too, training objects of the run included, and the outcome was called the hold-out of training.
func TestHoldoutOf(t *testing.T) {
	set := func(class, prefix string, cameras ...string) *dataset.Set {
		s := &dataset.Set{Naming: dataset.Naming{Cameras: cameras}}
		for i := range 4 {
			s.Train = append(s.Train, dataset.Object{Class: class, ID: fmt.Sprint(prefix, i)})
		}
		return s
	}
	both := set("nut", "S")
	both.Train = append(both.Train, set("gear", "S").Train...)
	setup := &inspect.Setup{Path: "M", Config: configs.Default(), Trained: checkpoint.Info{Config: configs.Default(), TrainLists: both.TrainLists()}}
	setup.Trained.Config.Train.Holdout = 0.5
	for _, c := range []struct {
		name    string
		data    *dataset.Set
		objects int
		from    string
		fault   string
	}{
		{"the same", both, 4, fromHoldout, ""},
		{"one of the classes", set("nut", "S"), 2, fromHoldout, ""},
		{"other objects", set("nut", "T"), 4, fromOtherData, ""},
		{"another class", set("cap", "S"), 4, fromOtherData, ""},
		{"the same under other cameras", set("nut", "S", "front", "left"), 0, "", `cameras: have ["front" "left"], want [] as in M`},
		{"other cameras", set("nut", "T", "front", "left"), 0, "", `cameras: have ["front" "left"], want [] as in M`},
	} {
		good, from, err := holdoutOf(setup, c.data)
		if len(good) != c.objects || from != c.from || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: have %d objects, %q, error %v", c.name, len(good), from, err)
		}
	}
	setup.Trained.TrainLists = nil // written before there were lists
	if good, from, err := holdoutOf(setup, set("nut", "T")); len(good) != 2 || from != fromHoldout || err != nil {
		t.Errorf("without lists: have %d objects, %q, error %v", len(good), from, err)
	}
}

// TestRunFolder follows a run folder that was copied: its results went to the original.
func TestRunFolder(t *testing.T) {
	cfg := configs.Default()
	info := &checkpoint.Info{Config: cfg}
	other := cfg
	other.Name = "other"
	for _, c := range []struct {
		cfg  configs.Config
		file checkpoint.File
		want string
	}{
		{cfg, checkpoint.File{Path: "runs/realiad/checkpoint.safetensors", Info: info}, "runs/realiad"},
		{cfg, checkpoint.File{Path: "copy/checkpoint.safetensors", Info: info}, "copy"},
		{cfg, checkpoint.File{Path: "models/best.safetensors", Info: info}, "runs/realiad"},
		{other, checkpoint.File{Path: "copy/checkpoint.safetensors", Info: info}, "runs/other"},
		{cfg, checkpoint.File{Path: "copy/checkpoint.safetensors"}, "runs/realiad"}, // bare weights
	} {
		if have := runFolder(c.cfg, &c.file); have != c.want {
			t.Errorf("%s: have %s, want %s", c.file.Path, have, c.want)
		}
	}
}
