package eval

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/picture"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/heatmap"
	"mvag-torch/internal/team"
	"mvag-torch/internal/team/teamtest"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/weights"
)

// drawing is a sink that draws as the command does, and interrupts the evaluation in a class.
type drawing struct {
	planned
	album   *picture.Album
	gallery *picture.Gallery
}

func (d *drawing) Wants(o *dataset.Object, score float64) bool {
	worst := d.gallery.Wants(o, score)
	return d.album.Wants(o) || worst
}

func (d *drawing) Draw(o *dataset.Object, views []picture.Tile) {
	d.album.Add(o, views)
	d.gallery.Add(o, views)
}

// shared is an evaluation by processes that have one set of files.
type shared struct {
	cfg   configs.Config
	files string // folder of images
	set   func(*dataset.Set)
	heads bool // it has a memory, and of class nut it alone
	stop  string
	maps  bool
}

// setOf describes the files of a folder, which it writes where there are none: of each class 5 objects of two views, one
// of them with a defect.
func setOf(t *testing.T, cfg configs.Config, folder string) *dataset.Set {
	t.Helper()
	set := &dataset.Set{Classes: []string{"gear", "nut"}, Source: dataset.NewSource(cfg.Data)}
	for c, class := range set.Classes {
		for i := range 5 {
			o := dataset.Object{Class: class, ID: fmt.Sprintf("%s/%d", class, i)}
			for camera := range 2 {
				v := dataset.View{Camera: camera, Path: filepath.Join(folder, fmt.Sprintf("%d_%d_C%d.png", c, i, camera))}
				if i == 3 && camera == 0 {
					v.Code, v.Mask = "dent", strings.TrimSuffix(v.Path, ".png")+"_mask.png"
				}
				if _, err := os.Stat(v.Path); err != nil {
					drawImage(t, v.Path, uint8(30*i+20*camera+10*c), -1)
					if v.Mask != "" {
						drawImage(t, v.Mask, 0, 12)
					}
				}
				o.Views = append(o.Views, v)
			}
			set.Test = append(set.Test, o)
		}
	}
	set.Source.Skipped.Expect("test images", set.Test)
	return set
}

// into evaluates as a rank, and leaves all that the command would write in a folder.
func (e shared) into(t *testing.T, tm *team.Team, out string) error {
	t.Helper()
	set := setOf(t, e.cfg, e.files)
	if e.set != nil {
		e.set(set)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sink := &drawing{planned{stop: e.stop, cancel: cancel}, picture.NewAlbum(set), picture.NewGallery(set)}
	opt := Options{Team: tm}
	if tm.Rank() == 0 {
		opt.Sink, opt.Partial = sink, filepath.Join(out, "partial.jsonl")
		if err := os.MkdirAll(filepath.Join(out, "pictures"), 0o755); err != nil {
			return err
		}
	}
	if e.heads {
		opt.Heads = calibration.Heads{Levels: map[string]calibration.Levels{"": {Reconstruction: 0.5, Memory: 0.1}}}
	}
	if e.maps {
		opt.Maps = out
	}
	var outcome Outcome
	err := tensor.Run(func(s *tensor.Scope) error {
		m, err := e.trained(s, t, set)
		if err == nil {
			outcome, err = Run(ctx, e.cfg, m, set, opt)
		}
		return err
	})
	if err != nil || tm.Rank() > 0 {
		if len(outcome.Images) > 0 && tm.Rank() > 0 {
			t.Error("have results on another rank than the first")
		}
		return err
	}
	return write(out, outcome, sink, set)
}

func (e shared) trained(s *tensor.Scope, t *testing.T, set *dataset.Set) (*model.Trained, error) {
	arch, err := weights.OfConfig(e.cfg.Backbone)
	if err != nil {
		return nil, err
	}
	tensor.SetThreads(1)
	m, err := model.New(s, tensor.CPU, e.cfg, arch, randomEncoder())
	if err != nil {
		return nil, err
	}
	trained := &model.Trained{Model: m, SHA256: "a", BackboneSHA256: "b"}
	if e.heads {
		if trained.Memory, err = remembering(s, t.Context(), e.cfg, m, set); err == nil {
			trained.Memory.Classes["nut"].Alone = true
		}
	}
	return trained, err
}

func write(out string, o Outcome, sink *drawing, set *dataset.Set) error {
	exhibits, err := sink.gallery.Exhibits(false, func(_ string, v float32) float32 { return v })
	if err == nil {
		_, err = sink.album.Write(filepath.Join(out, "pictures"), score.FileName, heatmap.Scale{High: 1})
	}
	return errors.Join(err, report.Write(filepath.Join(out, "results.json"), o.Results),
		score.WriteLines(filepath.Join(out, "scores.jsonl"), o.Images), score.WriteLines(filepath.Join(out, "objects.jsonl"), o.Objects),
		score.WriteLines(filepath.Join(out, "curves.jsonl"), o.Curves), score.WriteLines(filepath.Join(out, "gallery.jsonl"), exhibits),
		os.WriteFile(filepath.Join(out, "skipped"), []byte(strings.Join(set.Source.Skipped.Lines(), "\n")), 0o600))
}

// spoil replaces images by what is none.
func spoil(t *testing.T, files string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(files, name), []byte("no image"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// evaluations are those that must be the same by any number of processes, by name. Their files are in a folder.
func evaluations(files string) map[string]shared {
	plain := shared{cfg: smallConfig(), files: filepath.Join(files, "whole"), maps: true}
	plain.cfg.Eval.Objects = 2 // three batches a class, the last of one object
	absent := plain
	absent.set = func(s *dataset.Set) { s.Test[2].Views[1], s.Test[5].Views[0] = dataset.View{Camera: 1}, dataset.View{} }
	heads := absent
	heads.heads = true
	skipped := plain
	skipped.files, skipped.maps, skipped.cfg.Data.OnError = filepath.Join(files, "spoilt"), false, "skip"
	skipped.cfg.Data.MaxUnreadable = 0.5
	skipped.cfg.Data.Fit, skipped.cfg.Data.Resize = "pad", configs.Square(42) // enlarged, which is noted
	skipped.cfg.Eval.Objects = 1                                              // two rounds of four ranks, three of them without a batch in the second
	tiles := plain
	tiles.cfg.Data.Fit, tiles.cfg.Data.Resize, tiles.cfg.Data.Crop, tiles.cfg.Data.Overlap = "tiles", configs.Size{28, 50}, configs.Size{28, 28}, 0.25
	return map[string]shared{"absent": absent, "heads": heads, "skipped": skipped, "tiles": tiles}
}

// filesOf writes the files of evaluations.
func filesOf(t *testing.T, files string) {
	t.Helper()
	for _, name := range []string{"whole", "spoilt", "first"} {
		if err := os.MkdirAll(filepath.Join(files, name), 0o755); err != nil {
			t.Fatal(err)
		}
		setOf(t, smallConfig(), filepath.Join(files, name))
	}
	spoil(t, filepath.Join(files, "spoilt"), "0_1_C0.png", "0_3_C1.png", "1_4_C0.png", "1_4_C1.png")
	spoil(t, filepath.Join(files, "first"), "0_0_C1.png")
}

const filesVariable = "MVAG_TEST_FILES"

// filesFor returns the folder of files of this test, which its processes share.
func filesFor(t *testing.T) string {
	t.Helper()
	files := os.Getenv(filesVariable)
	if files == "" {
		files = t.TempDir()
		filesOf(t, files)
		t.Setenv(filesVariable, files)
	}
	return files
}

// tree returns the files below a folder by name.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		found[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestProcesses: whatever the number of processes, all that is written has the same bytes; so after an interruption that
// one of two ranks notices.
func TestProcesses(t *testing.T) {
	files := filesFor(t)
	var dirs []string
	for _, n := range []int{2, 4} {
		dirs = append(dirs, teamtest.Run(t, n, func(tm *team.Team, dir string) {
			all := evaluations(files)
			for _, name := range []string{"absent", "heads", "skipped", "tiles"} {
				if e := all[name]; n == 2 && name == "absent" {
					if tm.Rank() == 0 {
						e.stop = "nut"
					}
					if err := e.into(t, tm, filepath.Join(dir, name)); !errors.Is(err, context.Canceled) {
						t.Fatalf("have %v, want an interrupted evaluation", err)
					}
				}
				if err := all[name].into(t, tm, filepath.Join(dir, name)); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}))
	}
	for name, e := range evaluations(files) {
		alone := filepath.Join(t.TempDir(), name)
		if err := e.into(t, nil, alone); err != nil {
			t.Fatal(err)
		}
		want := tree(t, alone)
		if len(want) < 8 || name == "skipped" && !strings.Contains(want["results.json"], string(dataset.Enlarged)) {
			t.Errorf("%s: have %d files and results\n%.3000s", name, len(want), want["results.json"])
		}
		for i, dir := range dirs {
			have := tree(t, filepath.Join(dir, name))
			for file := range want {
				if have[file] != want[file] {
					t.Errorf("%s, %d processes: %s differs:\n%.2000s\nwant\n%.2000s", name, 2<<i, file, have[file], want[file])
				}
			}
			if len(have) != len(want) {
				t.Errorf("%s, %d processes: have %d files, want %d", name, 2<<i, len(have), len(want))
			}
		}
	}
}

// TestFailures: whatever ends one rank ends both, with the name of the image or file and its class; too many unreadable
// images stop at the same one as in one process.
func TestFailures(t *testing.T) {
	files := filesFor(t)
	many := evaluations(files)["skipped"]
	many.cfg.Data.MaxUnreadable = 0.2 // the second of gear is too many
	dir := teamtest.Run(t, 2, func(tm *team.Team, dir string) {
		stopped := evaluations(files)["skipped"]
		stopped.cfg.Data.OnError, stopped.files = "stop", filepath.Join(files, "first") // the first batch of rank 1 cannot be read
		other := evaluations(files)["absent"]
		other.cfg.Eval.Objects += tm.Rank()
		full := evaluations(files)["absent"]
		var said bytes.Buffer
		fmt.Fprintln(&said, stopped.into(t, tm, filepath.Join(dir, "stopped")))
		fmt.Fprintln(&said, many.into(t, tm, filepath.Join(dir, "many")))
		fmt.Fprintln(&said, other.into(t, tm, filepath.Join(dir, "other")))
		if tm.Rank() == 0 { // a folder stands where a file is to be written
			if err := os.MkdirAll(filepath.Join(dir, "full", "partial.jsonl"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintln(&said, full.into(t, tm, filepath.Join(dir, "full")))
		teamtest.Write(t, dir, tm.Rank(), said.Bytes())
	})
	alone := many.into(t, nil, t.TempDir())
	if alone == nil {
		t.Fatal("have no error")
	}
	host, _ := os.Hostname()
	want := []string{
		fmt.Sprintf("rank 1 (%s): class \"gear\": %s", host, filepath.Join(files, "first", "0_0_C1.png")),
		fmt.Sprintf("rank 0 (%s): %v", host, alone),
		fmt.Sprintf("rank 1 (%s): eval.objects: have \"3\", want \"2\" as rank 0 (%s)", host, host),
		fmt.Sprintf("rank 0 (%s): class \"gear\": %s", host, filepath.Join(dir, "full", "partial.jsonl")),
	}
	for rank, text := range teamtest.Read(t, dir, 2) {
		if have := strings.Split(strings.TrimSpace(string(text)), "\n"); !slices.EqualFunc(have, want, strings.HasPrefix) {
			t.Errorf("rank %d: have\n%s\nwant\n%s", rank, text, strings.Join(want, "\n"))
		}
	}
}
