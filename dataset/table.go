package dataset

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// table reads data.table, a CSV file below data.root with a row for each image. Required columns are path, split (train
// or test) and label (IsGoodLabel; anything else is a defect code). Optional columns are object (by default each image
// is an object), camera, mask and class. Paths are relative to data.root.
func (r reader) table() (*Set, error) {
	t, err := r.readTable([]string{"path", "split", "label"}, []string{"object", "camera", "mask", "class"})
	if err != nil {
		return nil, err
	}
	class, err := r.rootName()
	if err != nil {
		return nil, err
	}
	return r.rows(t, func(row row) (shot, error) {
		s := shot{class: class, object: row["object"], camera: row["camera"]}
		if t.has("class") {
			s.class = canonical(row["class"])
		}
		if t.has("object") && s.object == "" {
			return s, errors.New("object: have none, want a name")
		}
		if !IsGoodLabel(row["label"]) {
			s.Code = row["label"]
		}
		return s, r.fill(&s, row["split"], row["path"], row["mask"])
	})
}

// visa reads VisA: from the table of its authors if data.table is set (split_csv/1cls.csv),
// else from the layout of MVTec AD (docs/datasets.md).
func (r reader) visa() (*Set, error) {
	if r.Views != 1 {
		return nil, fmt.Errorf("data.views: have %d, want 1 with data.format visa", r.Views)
	}
	if r.Table == "" {
		return r.trees(pattern{}, false, mvtecLayout+"; or data.table split_csv/1cls.csv")
	}
	t, err := r.readTable([]string{"object", "split", "label", "image", "mask"}, nil)
	if err != nil {
		return nil, err
	}
	return r.rows(t, func(row row) (shot, error) {
		s := shot{class: canonical(row["object"])}
		switch code := row["label"]; code {
		case "normal":
		case "anomaly":
			s.Code = code
		default:
			return s, fmt.Errorf(`label: have %q, want "normal" or "anomaly"`, code)
		}
		return s, r.fill(&s, row["split"], row["image"], row["mask"])
	})
}

// splits are the words of the column split, in any case; true means test.
var splits = map[string]bool{"train": false, "training": false, "test": true, "testing": true}

// noMask are the values of the column mask, in lower case, that programs write for an empty cell. A file of that name is
// a mask.
var noMask = []string{"-", "<na>", "n/a", "na", "nan", "none", "null"}

// fill sets split, image and mask from a row. An image without an object is one.
func (r reader) fill(s *shot, split, image, mask string) error {
	var known bool
	if s.test, known = splits[strings.ToLower(split)]; !known {
		return fmt.Errorf(`split: have %q, want "train" or "test"`, split)
	}
	image, err := r.below(r.Root, image)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if s.object == "" {
		s.object = trimExt(filepath.ToSlash(image))
	}
	s.Path = r.find(filepath.Join(r.Root, image))
	if mask == "" || slices.Contains(noMask, strings.ToLower(mask)) && r.stat(under(r.Root, mask)) != nil {
		return nil
	}
	if mask, err = r.below(r.Root, mask); err != nil {
		return fmt.Errorf("mask: %w", err)
	}
	s.Mask = r.find(filepath.Join(r.Root, mask))
	return nil
}

// readTable reads data.table.
func (r reader) readTable(required, optional []string) (*table, error) {
	if err := r.wantFolder("data.root", r.Root, "want the folder of the table and its images"); err != nil {
		return nil, err
	}
	if r.Table == "" {
		return nil, fmt.Errorf("data.table: have none, want a CSV file below data.root with data.format %s", r.Format)
	}
	t, err := readTable(r.tableFile(), required, optional, true)
	if err != nil {
		return nil, fmt.Errorf("data.table: %w", err)
	}
	return t, nil
}

func (r reader) tableFile() string { return r.find(filepath.Join(r.Root, r.Table)) }

// rows converts rows to images and assembles the requested classes, or all sorted by name.
func (r reader) rows(t *table, read func(row) (shot, error)) (*Set, error) {
	file := r.tableFile()
	for _, line := range t.blank {
		r.over.add(OverRows, fmt.Sprintf("%s:%d", file, line))
	}
	shots := map[string][]shot{}
	for i, row := range t.rows {
		s, err := read(row)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", printable(file), t.lines[i], err)
		}
		s.line = t.lines[i]
		shots[s.class] = append(shots[s.class], s)
	}
	classes, err := chooseClasses(file, slices.Sorted(maps.Keys(shots)), r.Classes)
	if err != nil {
		return nil, err
	}
	var listings []listing
	for _, class := range classes {
		l := listing{class, file, shots[class]}
		if r.probe {
			if err := l.probe(r.files); err != nil {
				return nil, err
			}
		}
		listings = append(listings, l)
	}
	return assemble(listings, r.Views)
}
