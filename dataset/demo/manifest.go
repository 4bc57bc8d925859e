package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// manifestFile, written last, marks a folder as complete.
const manifestFile = "demo.json"

// revision is that of the drawing; raise it when pictures change, so that a
// folder of an older revision is not taken for a current one.
const revision = 1

// Summary counts what a folder holds.
type Summary struct {
	Classes []ClassSummary `json:"classes"`
	// Reused says that the folder was complete already.
	Reused bool `json:"-"`
}

// ClassSummary counts one class.
type ClassSummary struct {
	Name     string `json:"name"`
	Objects  int    `json:"objects"`
	Pictures int    `json:"pictures"`
	// Defective are the pictures with a mask; Hidden are pictures of defective
	// objects whose camera does not see the defect, labelled OK.
	Defective int `json:"defective"`
	Hidden    int `json:"hidden"`
}

// manifest records the settings and the count of a complete set.
type manifest struct {
	settings
	Summary Summary `json:"summary"`
}

// settings are what decides the pictures.
type settings struct {
	Revision int   `json:"revision"`
	Size     int   `json:"size"`
	Train    int   `json:"train"`
	Good     int   `json:"good"`
	Bad      int   `json:"bad"`
	Seed     int64 `json:"seed"`
}

func (opt Options) settings() settings {
	return settings{Revision: revision, Size: opt.Size, Train: opt.Train, Good: opt.Good, Bad: opt.Bad, Seed: opt.Seed}
}

func (s settings) String() string {
	return fmt.Sprintf("size %d, train %d, good %d, bad %d, seed %d (revision %d)",
		s.Size, s.Train, s.Good, s.Bad, s.Seed, s.Revision)
}

// existing looks at what opt.Out holds. It reports true for the complete set
// of these options, false for nothing, and an error for anything else.
func existing(opt Options) (Summary, bool, error) {
	files, err := os.ReadDir(opt.Out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		return Summary{}, false, nil
	}
	if err != nil {
		return Summary{}, false, fmt.Errorf("demo: %w", err)
	}
	file := filepath.Join(opt.Out, manifestFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Summary{}, false, fmt.Errorf("demo: %q: have files but no %s (not a demo, or an interrupted one), want an empty or a new folder", opt.Out, manifestFile)
	}
	if err != nil {
		return Summary{}, false, fmt.Errorf("demo: %w", err)
	}
	var have manifest
	if err := json.Unmarshal(data, &have); err != nil {
		return Summary{}, false, fmt.Errorf("demo: %q: %w", file, err)
	}
	if want := opt.settings(); have.settings != want {
		return Summary{}, false, fmt.Errorf("demo: %q: have a set of %s, want %s or an empty folder", opt.Out, have.settings, want)
	}
	if err := checkFiles(opt); err != nil {
		return Summary{}, false, err
	}
	have.Summary.Reused = true
	return have.Summary, true, nil
}

// checkFiles makes sure that every file the index names is there.
func checkFiles(opt Options) error {
	for _, c := range classes {
		file := indexPath(opt, c.name)
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		var ix index
		if err := json.Unmarshal(data, &ix); err != nil {
			return fmt.Errorf("demo: %q: %w", file, err)
		}
		root := filepath.Join(opt.Out, ImageFolder, ix.Meta.Prefix)
		for _, e := range append(ix.Train, ix.Test...) {
			names := []string{e.ImagePath}
			if e.MaskPath != nil {
				names = append(names, *e.MaskPath)
			}
			for _, name := range names {
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
					return fmt.Errorf("demo: %q names a missing file: %w", file, err)
				}
			}
		}
	}
	return nil
}

func indexPath(opt Options, class string) string {
	return filepath.Join(opt.Out, IndexFolder, class+".json")
}

// finish writes the index files and, last, the manifest.
func finish(opt Options, jobs []job, entries [][]entry) (Summary, error) {
	done := manifest{settings: opt.settings()}
	if err := os.MkdirAll(filepath.Join(opt.Out, IndexFolder), 0o755); err != nil {
		return Summary{}, fmt.Errorf("demo: %w", err)
	}
	for i := range classes {
		name := classes[i].name
		ix := index{Meta: meta{Prefix: name + "/", NormalClass: normal}, Train: []entry{}, Test: []entry{}}
		sum := ClassSummary{Name: name}
		for k := range jobs {
			if jobs[k].class != &classes[i] {
				continue
			}
			if jobs[k].train {
				ix.Train = append(ix.Train, entries[k]...)
			} else {
				ix.Test = append(ix.Test, entries[k]...)
			}
			sum.add(&jobs[k], entries[k])
		}
		done.Summary.Classes = append(done.Summary.Classes, sum)
		if err := writeJSON(indexPath(opt, name), ix); err != nil {
			return Summary{}, err
		}
	}
	return done.Summary, writeJSON(filepath.Join(opt.Out, manifestFile), done)
}

// add counts one object.
func (c *ClassSummary) add(j *job, entries []entry) {
	c.Objects++
	c.Pictures += len(entries)
	for _, e := range entries {
		switch {
		case e.MaskPath != nil:
			c.Defective++
		case j.code != "":
			c.Hidden++
		}
	}
}

// writeJSON writes v to a file that appears only when it is whole.
func writeJSON(file string, v any) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("demo: %q: %w", file, err)
	}
	temp := file + ".part"
	if err := os.WriteFile(temp, buf.Bytes(), 0o644); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := os.Rename(temp, file); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}
