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
)

// table reads data.table, a CSV file below data.root with a row for each image. Required columns are path, split (train
// or test) and label (good, ok, normal, 0 or empty means good; anything else is a defect code). Optional columns are
// object (by default each image is an object), camera, mask and class. Paths are relative to data.root.
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
			s.class = row["class"]
		}
		if !t.has("object") {
			s.object = trimExt(filepath.ToSlash(row["path"]))
		}
		if s.object == "" {
			return s, errors.New("object: have none, want a name")
		}
		label := row["label"]
		if isGood(label) || label == "0" {
			label = ""
		}
		return s, s.fill(r.Root, row["split"], row["path"], label, row["mask"])
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
		s := shot{class: row["object"], object: trimExt(filepath.ToSlash(row["image"]))}
		code := row["label"]
		switch code {
		case "normal":
			code = ""
		case "anomaly":
		default:
			return s, fmt.Errorf(`label: have %q, want "normal" or "anomaly"`, code)
		}
		return s, s.fill(r.Root, row["split"], row["image"], code, row["mask"])
	})
}

// fill sets split, image, label and mask from a row.
func (s *shot) fill(root, split, image, code, mask string) error {
	switch {
	case split != "train" && split != "test":
		return fmt.Errorf(`split: have %q, want "train" or "test"`, split)
	case !filepath.IsLocal(image):
		return fmt.Errorf("image: have %q, want a path below data.root", image)
	case mask != "" && !filepath.IsLocal(mask):
		return fmt.Errorf("mask: have %q, want a path below data.root", mask)
	case mask != "" && code == "":
		return fmt.Errorf("mask: have %q for the good image %q, want none", mask, image)
	}
	s.test, s.Path, s.Code = split == "test", filepath.Join(root, image), code
	if mask != "" {
		s.Mask = filepath.Join(root, mask)
	}
	return nil
}

// row is one row by column, without spaces around values.
type row map[string]string

// table is a parsed CSV file.
type table struct {
	columns []string // "" if unknown
	rows    []row
	lines   []int // line of each row in the file
}

func (t *table) has(column string) bool { return slices.Contains(t.columns, column) }

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

func (r reader) tableFile() string { return filepath.Join(r.Root, r.Table) }

// readTable reads a CSV file. If strict, unknown columns are an error.
func readTable(name string, required, optional []string, strict bool) (*table, error) {
	data, err := readFile(name, nil)
	if err != nil {
		return nil, err
	}
	t, err := parseTable(data, required, optional, strict)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", printable(name), err)
	}
	return t, nil
}

// parseTable parses CSV in UTF-8, with or without a byte order mark. The separator is a comma, semicolon or tab,
// detected from the first line.
func parseTable(data []byte, required, optional []string, strict bool) (*table, error) {
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
			return nil, err // the error names the line
		}
		if t.columns == nil {
			if t.columns, err = columns(fields, required, optional, strict); err != nil {
				return nil, err
			}
			continue
		}
		line, _ := r.FieldPos(0)
		values := row{}
		for i, name := range t.columns {
			values[name] = strings.TrimSpace(fields[i])
		}
		t.rows, t.lines = append(t.rows, values), append(t.lines, line)
	}
	if len(t.rows) == 0 {
		return nil, errors.New("have no rows, want a line of columns and one an image")
	}
	return t, nil
}

// columns checks the header: no column twice, none missing, and if strict none unknown.
func columns(fields, required, optional []string, strict bool) ([]string, error) {
	known := slices.Concat(required, optional)
	var names []string
	for _, field := range fields {
		name := strings.ToLower(strings.TrimSpace(field))
		switch {
		case slices.Contains(known, name) && slices.Contains(names, name):
			return nil, fmt.Errorf("column %q: have it twice, want it once", name)
		case slices.Contains(known, name):
		case strict:
			return nil, fmt.Errorf("column %q: is unknown, want %s", field, strings.Join(known, ", "))
		default:
			name = ""
		}
		names = append(names, name)
	}
	for _, name := range required {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("column %q: have none in %q, want columns %s", name, fields, strings.Join(known, ", "))
		}
	}
	return names, nil
}

// rows converts rows to images and assembles the requested classes, or all sorted by name.
func (r reader) rows(t *table, read func(row) (shot, error)) (*Set, error) {
	file := r.tableFile()
	shots := map[string][]shot{}
	var found []string
	for i, row := range t.rows {
		s, err := read(row)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", printable(file), t.lines[i], err)
		}
		if shots[s.class] == nil {
			found = append(found, s.class)
		}
		shots[s.class] = append(shots[s.class], s)
	}
	slices.Sort(found)
	classes, err := chooseClasses(file, found, r.Classes)
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
