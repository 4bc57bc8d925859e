package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/inspect"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// TestAdditions adds good objects to the calibration of a checkpoint and of a bundle, lists them and takes them back.
func TestAdditions(t *testing.T) {
	model, bundle, _ := bundled(t, "--half")
	fresh := filepath.Join(t.TempDir(), "fresh")
	must(t, "dataset", "demo", fresh, "--size", "64", "--seed", "2", "--train", "3", "--good", "1", "--bad", "1")
	images := filepath.Join(fresh, "realiad_demo")
	for _, path := range []string{model, bundle} {
		cmd := func(more ...string) []string { return append([]string{"calibrate", "-m", path}, more...) }
		before := openFile(t, path).Metadata()
		said(t, cmd("--history"), "nothing was added to the calibration")
		refused(t, cmd("--undo"), path+": have no addition to undo")
		said(t, cmd("--add", filepath.Join(images, "gear", "OK")), "addition 1: ", "4 good objects, images given to calibrate --add",
			"reconstruction", "memory", "both", "calibrated with 10 good objects (50 images), hold-out of training, and 4 more in 1 additions")
		between := openFile(t, path).Metadata()
		said(t, cmd("--add", filepath.Join(images, "gear", "OK"), filepath.Join(images, "hex_nut", "OK")), "left out: 4 of 8 objects are in the calibration already", "addition 2: ")
		refused(t, cmd("--add", filepath.Join(images, "gear", "OK")), "have 4 good objects, all of which are in the calibration already")
		said(t, cmd("--history"), "addition 1: ", "addition 2: ", "  gear ", "  hex_nut ")
		d := facts[modelInfo](t, path)
		if len(d.Additions) != 2 || d.Additions[1].Objects != 4 || d.Additions[1].Number != 2 || d.Heads[0].Objects != 14 {
			t.Errorf("have %+v", d.Additions)
		}
		if text := must(t, "info", path); !strings.Contains(text, "2 to the calibration, the last of ") {
			t.Errorf("have no additions in\n%s", text)
		}
		for _, want := range []map[string]string{between, before} {
			said(t, cmd("--undo"), "took addition ", "4 good objects", "calibrated with ")
			have := openFile(t, path).Metadata() // which checks the seal of a bundle
			for _, key := range []string{checkpoint.CalibrationKey, checkpoint.HeadsKey, checkpoint.SamplesKey, checkpoint.ContentsKey} {
				if have[key] != want[key] {
					t.Errorf("%s: have %.300s, want %.300s", key, have[key], want[key])
				}
			}
		}
		sampleSizes(t, path)
	}
	rewrite(t, model, func(meta map[string]string) { delete(meta, checkpoint.SamplesKey) })
	for _, flag := range []string{"--add", "--undo", "--history"} {
		args := []string{"calibrate", "-m", model, flag}
		if flag == "--add" {
			args = append(args, images)
		}
		refused(t, args, model+": does not have the scores that its thresholds rest on", "calibrated anew first")
	}
}

// sampleSizes holds what docs/calibration.md says of the bytes that an object of five images takes, at most.
func sampleSizes(t *testing.T, path string) {
	t.Helper()
	u, err := inspect.Read(path, inspect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	g := u.Samples.Groups[0]
	text, err := u.Samples.Marshal()
	if err != nil || len(g.Objects) != 6 || len(g.Objects[0].Scores) != 3 || len(text)/6 > 480 {
		t.Errorf("have %d bytes for %d objects, error %v, want at most 480 for each", len(text), len(g.Objects), err)
	}
	t.Logf("%d bytes an object of five images and three heads", len(text)/len(g.Objects))
	for i := range g.Objects {
		o := &g.Objects[i]
		o.Scores = map[string]calibration.Scores{calibration.Memory: o.Scores[calibration.Memory]}
	}
	one, err := (&calibration.Samples{Groups: []calibration.Group{g}}).Marshal()
	t.Logf("%d of one head (%v)", len(one)/len(g.Objects), err)
}

func TestAdditionsUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--add"}, {"--add", "--undo", "x"}, {"--undo", "x"}, {"--history", "--undo"}, {"--history", "--class", "x"},
		{"--add", "--set", "eval.false_alarm=0.1", "x"},
	} {
		var usage usageError
		if _, err := command(t, append([]string{"calibrate", "-m", "x"}, args...)...); !errors.As(err, &usage) {
			t.Errorf("%q: have %v, want a usage error", args, err)
		}
	}
}
