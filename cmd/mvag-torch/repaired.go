package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/internal/safetensors"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
	"mvag-torch/train"
)

// repaired says why a run goes on from the previous checkpoint, which one that is, and what is not in it.
func repaired(b train.Begin) string {
	path := filepath.Join(b.Folder, train.CheckpointName)
	had, kept := "", "there is no damaged one to keep"
	if !errors.Is(b.Repaired, fs.ErrNotExist) {
		kept = "what is damaged is kept as " + checkpoint.Damaged(path)
		if only := onlyIn(checkpoint.Damaged(path), checkpoint.Previous(path)); len(only) > 0 {
			had = " (the damaged one had " + strings.Join(only, ", ") + ")"
		}
	}
	return fmt.Sprintf("%v\ngoing on from %s, which the training left at iteration %d of %d: "+
		"what calibrate, enroll or serve have changed since then is not in it%s; %s",
		b.Repaired, checkpoint.Previous(path), b.Start, b.Iterations, had, kept)
}

// onlyIn names what calibrate and enroll have put into a damaged checkpoint, as far as its metadata can be read, and what
// the previous one does not have.
func onlyIn(damaged, previous string) (only []string) {
	classes, sources, additions := put(damaged)
	otherClasses, otherSources, otherAdditions := put(previous)
	has := func(list []string) func(string) bool {
		return func(s string) bool { return slices.Contains(list, s) }
	}
	if classes = slices.DeleteFunc(classes, has(otherClasses)); len(classes) > 0 {
		only = append(only, "in its memory "+quoted(classes))
	}
	if sources = slices.DeleteFunc(sources, has(otherSources)); len(sources) > 0 {
		only = append(only, "thresholds from "+quoted(sources))
	}
	if n := additions - otherAdditions; n > 0 {
		only = append(only, count(n, "addition")+" to them")
	}
	return only
}

// put returns the classes in the memory of a checkpoint, what its thresholds rest on besides the hold-out, and the number of
// additions, of a file that may be damaged.
func put(path string) (classes, sources []string, additions int) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, nil, 0
	}
	defer f.Close()
	meta := f.Metadata()
	var m memory.Memory
	if json.Unmarshal([]byte(meta[checkpoint.MemoryKey]), &m) == nil {
		classes = m.Names()
	}
	var s calibration.Samples
	if json.Unmarshal([]byte(meta[checkpoint.SamplesKey]), &s) == nil {
		for _, g := range s.Groups {
			if !strings.HasPrefix(g.Source, fromHoldout) {
				sources = append(sources, g.Source)
			}
		}
		additions = len(s.Additions)
	}
	return classes, sources, additions
}
