package dataset

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/configs"
)

// openTable opens a set that a table lists: data.table below data.root, a row a
// picture. Columns: path, split (train or test) and label (good, ok, normal, 0
// or nothing; else the defect code), and if wanted object (without it every
// picture is one), camera, mask and class. Paths are relative to data.root.
func openTable(cfg configs.Data, probe bool) (*Set, error) {
	t, err := readTable(cfg, []string{"path", "split", "label"}, []string{"object", "camera", "mask", "class"})
	if err != nil {
		return nil, err
	}
	class := ""
	if !slices.Contains(t.columns, "class") {
		root, err := filepath.Abs(cfg.Root)
		if err != nil {
			return nil, err
		}
		class = filepath.Base(root)
	}
	return t.set(cfg, probe, func(r row) (shot, error) {
		s := shot{class: class, object: r["object"], camera: r["camera"]}
		if class == "" {
			s.class = r["class"]
		}
		if !slices.Contains(t.columns, "object") {
			s.object = trimExt(filepath.ToSlash(r["path"]))
		}
		if s.object == "" {
			return s, errors.New("object: have none, want a name")
		}
		label := r["label"]
		if isGood(label) || label == "0" {
			label = ""
		}
		return s, s.fill(cfg.Root, r["split"], r["path"], label, r["mask"])
	})
}

// openVisA opens VisA: by the table of its authors where data.table names it
// (split_csv/1cls.csv; the masks hold class numbers), else reorganised in
// MVTec's layout (realiad.md section B5).
func openVisA(cfg configs.Data, probe bool) (*Set, error) {
	if cfg.Views != 1 {
		return nil, fmt.Errorf("data.views: have %d, want 1 with data.format visa", cfg.Views)
	}
	if cfg.Table == "" {
		return readTrees(cfg, pattern{}, false, mvtecLayout+"; or data.table split_csv/1cls.csv")
	}
	t, err := readTable(cfg, []string{"object", "split", "label", "image", "mask"}, nil)
	if err != nil {
		return nil, err
	}
	return t.set(cfg, probe, func(r row) (shot, error) {
		s := shot{class: r["object"], object: trimExt(filepath.ToSlash(r["image"]))}
		s.MaskNumbers = true
		code := ""
		switch r["label"] {
		case "normal":
		case "anomaly":
			code = "anomaly"
		default:
			return s, fmt.Errorf(`label: have %q, want "normal" or "anomaly"`, r["label"])
		}
		return s, s.fill(cfg.Root, r["split"], r["image"], code, r["mask"])
	})
}

// fill enters split, picture, label and mask of a row.
func (s *shot) fill(root, split, picture, code, mask string) error {
	switch {
	case split != "train" && split != "test":
		return fmt.Errorf(`split: have %q, want "train" or "test"`, split)
	case !filepath.IsLocal(picture):
		return fmt.Errorf("picture: have %q, want a path below data.root", picture)
	case mask != "" && !filepath.IsLocal(mask):
		return fmt.Errorf("mask: have %q, want a path below data.root", mask)
	case mask != "" && code == "":
		return fmt.Errorf("mask: have %q for the good picture %q, want none", mask, picture)
	}
	s.test, s.Path, s.Code = split == "test", filepath.Join(root, picture), code
	if mask != "" {
		s.Mask = filepath.Join(root, mask)
	}
	return nil
}

// row is one line of a table by column.
type row map[string]string

// table is a CSV file whose first line names its columns.
type table struct {
	file    string
	columns []string
	rows    []row
	lines   []int // of each row in the file
}

// readTable reads data.table.
func readTable(cfg configs.Data, required, optional []string) (*table, error) {
	if err := wantFolder("data.root", cfg.Root, "want the folder of the table and its pictures"); err != nil {
		return nil, err
	}
	if cfg.Table == "" {
		return nil, fmt.Errorf("data.table: have none, want a CSV file below data.root with data.format %s", cfg.Format)
	}
	file := filepath.Join(cfg.Root, cfg.Table)
	data, err := readFile(file, nil)
	if err != nil {
		return nil, fmt.Errorf("data.table: %w", err)
	}
	t, err := parseTable(data, required, optional)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", printable(file), err)
	}
	t.file = file
	return t, nil
}

// parseTable reads a CSV file in UTF-8, with a byte order mark or without;
// commas, semicolons or tabs separate, whichever the first line has.
func parseTable(data []byte, required, optional []string) (*table, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, errors.New("have UTF-16, want a CSV file in UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	r := csv.NewReader(bytes.NewReader(data))
	head, _, _ := bytes.Cut(data, []byte("\n"))
	for _, separator := range ";\t" {
		if !bytes.Contains(head, []byte(",")) && bytes.ContainsRune(head, separator) {
			r.Comma = separator
		}
	}
	t := new(table)
	for {
		fields, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err // names the line
		}
		if t.columns == nil {
			if t.columns, err = columns(fields, required, optional); err != nil {
				return nil, err
			}
			continue
		}
		line, _ := r.FieldPos(0)
		values := row{}
		for i, name := range t.columns {
			values[name] = fields[i]
		}
		t.rows, t.lines = append(t.rows, values), append(t.lines, line)
	}
	if len(t.rows) == 0 {
		return nil, errors.New("have no rows, want a line of columns and one a picture")
	}
	return t, nil
}

// columns checks the first line: each column known and once.
func columns(fields, required, optional []string) ([]string, error) {
	known := slices.Concat(required, optional)
	var names []string
	for _, field := range fields {
		name := strings.ToLower(strings.TrimSpace(field))
		switch {
		case !slices.Contains(known, name):
			return nil, fmt.Errorf("column %q: is unknown, want %s", field, strings.Join(known, ", "))
		case slices.Contains(names, name):
			return nil, fmt.Errorf("column %q: have it twice, want it once", name)
		}
		names = append(names, name)
	}
	for _, name := range required {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("column %q: have none, want columns %s", name, strings.Join(required, ", "))
		}
	}
	return names, nil
}

// set turns rows into pictures and assembles them, the classes asked for or all
// by name.
func (t *table) set(cfg configs.Data, probe bool, read func(row) (shot, error)) (*Set, error) {
	shots := map[string][]shot{}
	var found []string
	for i, r := range t.rows {
		s, err := read(r)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", printable(t.file), t.lines[i], err)
		}
		if shots[s.class] == nil {
			found = append(found, s.class)
		}
		shots[s.class] = append(shots[s.class], s)
	}
	slices.Sort(found)
	classes, err := chooseClasses(t.file, found, cfg.Classes)
	if err != nil {
		return nil, err
	}
	var listings []listing
	for _, class := range classes {
		s := listing{class, t.file, shots[class]}
		if probe {
			if err := s.probe(); err != nil {
				return nil, err
			}
		}
		listings = append(listings, s)
	}
	return assemble(listings, cfg.Views)
}
