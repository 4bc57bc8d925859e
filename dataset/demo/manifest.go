package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

// manifestFile contains the settings. It is written last and marks a folder as complete.
const manifestFile = "demo.json"

// begunFile has the settings of a set that is being rendered. Where it is found, that was interrupted.
const begunFile = "demo.begun.json"

// revision is the version of the rendering. It increases when images change, so that a folder of an older revision is
// not mistaken for a current one.
const revision = 1

// Summary counts what a folder contains.
type Summary struct {
	Classes []ClassSummary
	Reused  bool // the folder was complete already
}

// ClassSummary counts one class.
type ClassSummary struct {
	Name      string
	Objects   int
	Images    int
	Defective int // images with a mask
	Hidden    int // images of defective objects that do not show the defect, labelled OK
}

// settings are the options that determine the images.
type settings struct {
	Revision int    `json:"revision"`
	Classes  string `json:"classes,omitempty"` // joined by commas; empty for the usual ones
	Size     int    `json:"size"`
	Train    int    `json:"train"`
	Good     int    `json:"good"`
	Bad      int    `json:"bad"`
	Seed     int64  `json:"seed"`
}

func (opt Options) settings() settings {
	s := settings{Revision: revision, Size: opt.Size, Train: opt.Train, Good: opt.Good, Bad: opt.Bad, Seed: opt.Seed}
	var names []string
	for _, c := range opt.classes() {
		names = append(names, c.name)
	}
	if _, byDefault := Classes(); !slices.Equal(names, byDefault) {
		s.Classes = strings.Join(names, ",")
	}
	return s
}

func (s settings) String() string {
	classes := ""
	if s.Classes != "" {
		classes = "classes " + s.Classes + ", "
	}
	return classes + fmt.Sprintf("size %d, train %d, good %d, bad %d, seed %d (revision %d)", s.Size, s.Train, s.Good, s.Bad, s.Seed, s.Revision)
}

// existing examines opt.Out. It returns true for the complete set of these options, false for an empty or missing
// folder or an interrupted set of these options, and an error for anything else.
func existing(opt Options) (Summary, bool, error) {
	atomicfile.Sweep(opt.Out) // it may have been killed before it had a file
	files, err := os.ReadDir(opt.Out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		return Summary{}, false, nil
	}
	if err != nil {
		return Summary{}, false, err
	}
	var have settings
	err = readJSON(filepath.Join(opt.Out, manifestFile), &have)
	begun := errors.Is(err, fs.ErrNotExist)
	if begun {
		err = readJSON(filepath.Join(opt.Out, begunFile), &have)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Summary{}, false, fmt.Errorf("%q: have files but no %s (not a demo), want an empty or a new folder", opt.Out, manifestFile)
	}
	if err != nil {
		return Summary{}, false, err
	}
	if want := opt.settings(); have != want {
		return Summary{}, false, fmt.Errorf("%q: have a set of %s, want %s or an empty folder", opt.Out, have, want)
	}
	if begun {
		return Summary{}, false, nil
	}
	if err := forgetBegun(opt); err != nil {
		return Summary{}, false, err
	}
	sum := Summary{Reused: true}
	for _, c := range opt.classes() {
		var ix index
		if err := readJSON(indexPath(opt, c.name), &ix); err != nil {
			return Summary{}, false, err
		}
		root := filepath.Join(opt.Out, ImageFolder, ix.Meta.Prefix)
		for _, e := range append(ix.Train, ix.Test...) {
			_, err := os.Stat(filepath.Join(root, e.ImagePath))
			if err == nil && e.MaskPath != nil {
				_, err = os.Stat(filepath.Join(root, *e.MaskPath))
			}
			if err != nil {
				return Summary{}, false, fmt.Errorf("%q names a missing file: %w", indexPath(opt, c.name), err)
			}
		}
		sum.Classes = append(sum.Classes, ix.summary(c.name))
	}
	return sum, true, nil
}

func indexPath(opt Options, class string) string {
	return filepath.Join(opt.Out, IndexFolder, class+".json")
}

// finish writes the index files and then the manifest.
func finish(opt Options, jobs []job, entries [][]entry) (Summary, error) {
	var sum Summary
	if err := os.MkdirAll(filepath.Join(opt.Out, IndexFolder), 0o755); err != nil {
		return sum, err
	}
	for _, c := range opt.classes() {
		name := c.name
		ix := index{Meta: meta{Prefix: name + "/", NormalClass: normal}, Train: []entry{}, Test: []entry{}}
		for k, j := range jobs {
			switch {
			case j.class != c:
			case j.train:
				ix.Train = append(ix.Train, entries[k]...)
			default:
				ix.Test = append(ix.Test, entries[k]...)
			}
		}
		sum.Classes = append(sum.Classes, ix.summary(name))
		if err := writeJSON(indexPath(opt, name), ix); err != nil {
			return sum, err
		}
	}
	if err := writeJSON(filepath.Join(opt.Out, manifestFile), opt.settings()); err != nil {
		return sum, err
	}
	return sum, forgetBegun(opt)
}

// begin leaves the settings in the folder, so that the same command may render the set again if it is interrupted.
func begin(opt Options) error {
	if err := os.MkdirAll(opt.Out, 0o755); err != nil {
		return err
	}
	return writeJSON(filepath.Join(opt.Out, begunFile), opt.settings())
}

// forgetBegun removes what begin has left.
func forgetBegun(opt Options) error {
	if err := os.Remove(filepath.Join(opt.Out, begunFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// summary counts the entries of a class.
func (ix *index) summary(class string) ClassSummary {
	c := ClassSummary{Name: class}
	objects := map[string]bool{}
	for _, e := range append(ix.Train, ix.Test...) {
		objects[path.Dir(e.ImagePath)] = true
		c.Images++
		switch {
		case e.MaskPath != nil:
			c.Defective++
		case strings.HasPrefix(e.ImagePath, defective+"/"):
			c.Hidden++
		}
	}
	c.Objects = len(objects)
	return c
}

func readJSON(file string, v any) error {
	data, err := regularfile.Read(file, 64<<20)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%q: %w", file, err)
	}
	return nil
}

func writeJSON(file string, v any) error {
	return atomicfile.Write(file, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		return enc.Encode(v)
	})
}
