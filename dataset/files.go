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

// extensions are the lower-case extensions of the image formats that can be read. Data sets, calibrate and predict
// search folders for them. The format of a file is detected from its content.
var extensions = []string{".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

// foreign are extensions of image formats that cannot be read.
var foreign = []string{
	".arw", ".avif", ".bpg", ".cr2", ".cr3", ".dcm", ".dds", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heif", ".j2k", ".jp2", ".jxl",
	".nef", ".orf", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".psd", ".qoi", ".raw", ".tga",
}

func extensionIn(list []string, name string) bool {
	return slices.Contains(list, strings.ToLower(path.Ext(name)))
}

// isImage reports whether a file has the extension of a readable image format.
func isImage(name string) bool { return extensionIn(extensions, name) }

// trimExt removes the extension of a name.
func trimExt(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// printable returns a file name or text for a one-line message: unchanged, or quoted if it contains control characters
// or invalid UTF-8.
func printable(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	return strconv.Quote(text)
}

// oneLine makes the path in an error of package os printable.
func oneLine(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) && printable(e.Path) != e.Path {
		return &fs.PathError{Op: e.Op, Path: printable(e.Path), Err: e.Err}
	}
	return err
}

// hidden reports whether a file is left behind by an operating system or archiver.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "__MACOSX" }

// files is where a reader looks for folders and images: the disk, or the records of a cache.
type files interface {
	// list returns the sorted names of the folders in dir, or of the images in it.
	list(dir string, folders bool) ([]string, error)
	// isFolder reports whether dir is a folder.
	isFolder(dir string) bool
	// stat returns an error if path does not exist.
	stat(path string) error
}

// disk is the file system. It follows links; a broken or circular link is an error.
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

// imagesIn returns the images exactly depth folders below dir, as sorted slash-separated paths relative to dir. The
// depth is fixed, so circular links do no harm.
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

// masks finds the mask of an image in a folder of masks.
type masks struct {
	files
	dir    string
	byName map[string]string // mask file by its path without extension
	used   bool
}

// findMasks lists the masks exactly depth folders below dir. Masks are optional: dir need not exist.
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

// of returns the mask of an image, given by its path relative to its folder: the file of the same name, or with _mask
// appended. It returns "" if there is none.
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

// check returns an error if there are masks but none of them belongs to an image: the pixel metrics would silently be
// missing.
func (m *masks) check(example string) error {
	name := trimExt(example)
	switch {
	case m.used:
		return nil
	case m.dir != "" && m.isFolder(filepath.Join(m.dir, name)): // MVTec LOCO
		return fmt.Errorf("%s: have a folder of masks for %q, want one mask for each image", printable(m.dir), example)
	case len(m.byName) == 0:
		return nil
	}
	return fmt.Errorf("%s: have no mask named like its image, want %q or %q for %q", printable(m.dir), name+".png", name+"_mask.png", example)
}

// reader reads the index or the folders of a data set.
type reader struct {
	configs.Data
	files
	// probe checks that the first images and the first mask of each class exist. Later files are first met when they
	// are decoded.
	probe bool
}

// wantFolder returns an error that names the setting and the expected layout unless dir is a folder.
func (r reader) wantFolder(key, dir, layout string) error {
	if r.isFolder(dir) {
		return nil
	}
	if r.stat(dir) == nil {
		return fmt.Errorf("%s: %q is not a folder; %s", key, dir, layout)
	}
	return fmt.Errorf("%s: no folder %q; %s", key, dir, layout)
}

// chooseClasses returns the requested classes, or all that were found in dir.
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
