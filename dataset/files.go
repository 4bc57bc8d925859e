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

	"mvag-torch/configs"
)

// extensions are those of the images that can be read, in lower case: what data sets, calibrate and predict look for in
// folders. What a file is, its content decides.
var extensions = []string{".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

// foreign are extensions of images that cannot be read.
var foreign = []string{
	".arw", ".avif", ".bpg", ".cr2", ".cr3", ".dcm", ".dds", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif", ".j2k", ".jp2", ".jxl",
	".nef", ".orf", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd", ".qoi", ".raw", ".tga",
}

func extensionIn(list []string, name string) bool {
	return slices.Contains(list, strings.ToLower(path.Ext(name)))
}

// isImage reports whether a file is an image that can be read, by its name.
func isImage(name string) bool { return extensionIn(extensions, name) }

// trimExt cuts the extension off a name.
func trimExt(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// printable returns a file name or text as it can stand in a message of one line: as it is, or quoted where it holds
// control characters or is not UTF-8.
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

// hidden reports whether a name is one that operating systems and archives leave behind.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "__MACOSX" }

// files is where readers look for folders and images.
type files interface {
	// list returns the names of the folders, or of the images, in dir, sorted.
	list(dir string, folders bool) ([]string, error)
	// isFolder reports whether there is a folder.
	isFolder(dir string) bool
	// stat returns an error where there is no file or folder of that path.
	stat(path string) error
}

// disk is files on the disk. Links are followed; one that leads nowhere, or in a circle, is an error.
type disk struct{}

func (disk) list(dir string, folders bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, oneLine(err)
	}
	var names []string
	for _, e := range entries {
		if hidden(e.Name()) || !folders && !isImage(e.Name()) {
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

func (disk) isFolder(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

func (disk) stat(path string) error {
	_, err := os.Stat(path)
	return oneLine(err)
}

// imagesIn returns the images that lie depth folders below dir, 0 for in it, as sorted paths relative to dir with
// slashes. The depth is fixed, so links in a circle cannot hold it up.
func imagesIn(f files, dir string, depth int) ([]string, error) {
	names, err := f.list(dir, depth > 0)
	if err != nil || depth == 0 {
		return names, err
	}
	var found []string
	for _, name := range names {
		below, err := imagesIn(f, filepath.Join(dir, name), depth-1)
		if err != nil {
			return nil, err
		}
		for _, b := range below {
			found = append(found, name+"/"+b)
		}
	}
	return found, nil
}

// masks finds the masks of a folder of images.
type masks struct {
	files
	dir    string
	byName map[string]string // file by its path without extension
	used   bool
}

// findMasks lists the masks in dir, in as many folders below it as the images are in. There need be no dir: masks are
// optional.
func findMasks(f files, dir string, depth int) (*masks, error) {
	m := &masks{files: f, dir: dir, byName: map[string]string{}}
	if !f.isFolder(dir) {
		if _, err := os.Lstat(dir); err == nil {
			return nil, fmt.Errorf("%s: have no folder, want one of masks", printable(dir))
		}
		return m, nil
	}
	images, err := imagesIn(f, dir, depth)
	if err != nil {
		return nil, err
	}
	for _, file := range images {
		name := trimExt(file)
		if other := m.byName[name]; other != "" {
			return nil, fmt.Errorf("%s: two masks of one name, %q and %q", printable(dir), other, file)
		}
		m.byName[name] = file
	}
	return m, nil
}

// of returns the mask of an image, whose path is relative to its folder: the file of the same name, with _mask or
// without, or "".
func (m *masks) of(image string) string {
	name := trimExt(image)
	for _, name := range []string{name + "_mask", name} {
		if file := m.byName[name]; file != "" {
			m.used = true
			return filepath.Join(m.dir, file)
		}
	}
	return ""
}

// check refuses a folder of masks none of which belongs to an image, since the pixel metrics would be lost without a
// word.
func (m *masks) check(example string) error {
	name := trimExt(example)
	switch {
	case m.used:
		return nil
	case m.dir != "" && m.isFolder(filepath.Join(m.dir, name)): // MVTec LOCO
		return fmt.Errorf("%s: have a folder of masks for %q, want one mask an image", printable(m.dir), example)
	case len(m.byName) == 0:
		return nil
	}
	return fmt.Errorf("%s: have no mask named as its image, want %q or %q for %q", printable(m.dir), name+".png", name+"_mask.png", example)
}

// reader reads the index of a data set, or its folders.
type reader struct {
	configs.Data
	files
	// probe makes sure that the first images and the first mask of every class are where an index says; other files are
	// met when they are decoded.
	probe bool
}

// wantFolder returns an error that names the setting and the layout wanted unless dir is a folder.
func (r reader) wantFolder(key, dir, layout string) error {
	if r.isFolder(dir) {
		return nil
	}
	if r.stat(dir) == nil {
		return fmt.Errorf("%s: %q is not a folder; %s", key, dir, layout)
	}
	return fmt.Errorf("%s: no folder %q; %s", key, dir, layout)
}

// chooseClasses returns the classes asked for, or all that were found in dir.
func chooseClasses(dir string, found, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return found, nil
	}
	for i, class := range asked {
		if !slices.Contains(found, class) {
			return nil, fmt.Errorf("data.classes: have %q, want classes of %q, which has %s",
				class, dir, printable(strings.Join(found, ", ")))
		}
		if slices.Contains(asked[:i], class) {
			return nil, fmt.Errorf("data.classes: have %q twice, want it once", class)
		}
	}
	return slices.Clone(asked), nil
}
