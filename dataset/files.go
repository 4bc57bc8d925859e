package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// extensions are those of the files that a folder is searched for, in lower
// case; what a file is, its content decides.
var extensions = []string{".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

func isPicture(name string) bool {
	return slices.Contains(extensions, strings.ToLower(path.Ext(name)))
}

// trimExt cuts the extension off a name.
func trimExt(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// printable returns a file name or text as it can stand in a message of one
// line: as it is, or quoted where it holds control characters or is not UTF-8.
func printable(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	return strconv.Quote(text)
}

// oneLine makes the name in an error of package os printable.
func oneLine(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) && printable(e.Path) != e.Path {
		return &fs.PathError{Op: e.Op, Path: printable(e.Path), Err: e.Err}
	}
	return err
}

// hidden reports whether a name is one that operating systems and archives
// leave behind.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "__MACOSX" }

// list returns the names of the folders, or of the pictures, in dir, sorted.
// Links are followed; one that leads nowhere, or in a circle, is an error.
func list(dir string, folders bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, oneLine(err)
	}
	var names []string
	for _, e := range entries {
		if hidden(e.Name()) || !folders && !isPicture(e.Name()) {
			continue
		}
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, oneLine(err)
			}
			isDir = info.IsDir()
		}
		if isDir == folders {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// pictures returns the pictures that lie depth folders below dir, 0 for in it,
// as sorted paths relative to dir with slashes. The depth is fixed, so links in
// a circle cannot hold it up.
func pictures(dir string, depth int) ([]string, error) {
	names, err := list(dir, depth > 0)
	if err != nil || depth == 0 {
		return names, err
	}
	var found []string
	for _, name := range names {
		below, err := pictures(filepath.Join(dir, name), depth-1)
		if err != nil {
			return nil, err
		}
		for _, b := range below {
			found = append(found, name+"/"+b)
		}
	}
	return found, nil
}

// isFolder reports whether there is a folder, links followed.
func isFolder(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

// masks finds the masks of a folder of pictures.
type masks struct {
	dir    string
	byName map[string]string // file by its path without extension
	used   bool
}

// findMasks lists the masks in dir, in as many folders below it as the pictures
// are in. There need be no dir: masks are optional.
func findMasks(dir string, depth int) (*masks, error) {
	m := &masks{dir: dir, byName: map[string]string{}}
	if !isFolder(dir) {
		if _, err := os.Lstat(dir); err == nil {
			return nil, fmt.Errorf("%s: have no folder, want one of masks", printable(dir))
		}
		return m, nil
	}
	files, err := pictures(dir, depth)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		name := trimExt(file)
		if other := m.byName[name]; other != "" {
			return nil, fmt.Errorf("%s: two masks of one name, %q and %q", printable(dir), other, file)
		}
		m.byName[name] = file
	}
	return m, nil
}

// of returns the mask of a picture, whose path is relative to its folder: the
// file of the same name, with _mask or without, or "".
func (m *masks) of(picture string) string {
	name := trimExt(picture)
	for _, name := range []string{name + "_mask", name} {
		if file := m.byName[name]; file != "" {
			m.used = true
			return filepath.Join(m.dir, file)
		}
	}
	return ""
}

// check refuses a folder of masks none of which belongs to a picture, since the
// pixel metrics would be lost without a word.
func (m *masks) check(example string) error {
	name := trimExt(example)
	switch {
	case m.used:
		return nil
	case m.dir != "" && isFolder(filepath.Join(m.dir, name)): // MVTec LOCO
		return fmt.Errorf("%s: have a folder of masks for %q, want one mask a picture", printable(m.dir), example)
	case len(m.byName) == 0:
		return nil
	}
	return fmt.Errorf("%s: have no mask named as its picture, want %q or %q for %q", printable(m.dir), name+".png", name+"_mask.png", example)
}
