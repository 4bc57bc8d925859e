package collect

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// columns are those a table may have; others are skipped.
var columns = []string{"path", "object", "camera", "class"}

// table adds the pictures of a CSV file with a line of column names: path,
// relative to the table's folder; if there are, object, camera (a number from
// 1, or C1) and class. Without a camera a picture is an object of its own.
func (g *grouper) table(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: the table is empty", name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	at := map[string]int{}
	for i, column := range head {
		column = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(column, "\uFEFF")))
		if _, twice := at[column]; twice && slices.Contains(columns, column) {
			return fmt.Errorf("%s: have column %q twice, want it once", name, column)
		}
		at[column] = i
	}
	if _, ok := at["path"]; !ok {
		return fmt.Errorf("%s: have columns %q, want path and, if known, object, camera, class", name, head)
	}
	for count := 0; ; count++ {
		row, err := r.Read()
		switch {
		case errors.Is(err, io.EOF) && count == 0:
			return fmt.Errorf("%s: have no picture in the table", name)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		g.row(name, func(column string) string {
			if i, ok := at[column]; ok {
				return strings.TrimSpace(row[i])
			}
			return ""
		})
	}
}

func (g *grouper) row(table string, field func(string) string) {
	p := picture{path: field("path"), class: field("class"), object: field("object")}
	if p.path != "" && !filepath.IsAbs(p.path) {
		p.path = filepath.Join(filepath.Dir(table), p.path)
	}
	err := error(nil)
	camera := field("camera")
	switch {
	case p.path == "":
		p.path, err = table, errors.New("have a line without a path")
	case camera != "" && p.object == "":
		err = fmt.Errorf("have camera %q without an object", camera)
	case camera != "":
		p.camera, err = cameraOf(camera)
	}
	if err != nil {
		g.rejected = append(g.rejected, Rejected{p.path, err})
		return
	}
	g.add(p)
}
