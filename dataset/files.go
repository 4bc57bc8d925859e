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

// IsImage reports whether a file has the extension of an image format that can be read.
func IsImage(name string) bool { return isImage(name) }

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

// hidden reports whether a file or folder is left behind by an operating system, an archiver or a network drive.
func hidden(name string) bool {
	switch strings.ToLower(name) {
	case "__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir":
		return true
	}
	return strings.HasPrefix(name, ".")
}

// files is where a reader looks for folders and images: the disk, or the records of a cache.
type files interface {
	// read lists a folder.
	read(dir string) (listed, error)
	// isFolder reports whether dir is a folder.
	isFolder(dir string) bool
	// stat returns an error if path does not exist.
	stat(path string) error
}

// listed is what a folder contains, by name and sorted.
type listed struct {
	folders, images []string
	links           []string // the folders that are links
	foreign         []string // images of formats that cannot be read
	others          []string // other files
	hidden          []string // files and folders
	written         bool     // by this program ([MarkResults]): nothing in it is input
}

// disk is the file system. It follows links; a broken one, or one to itself, is an error.
type disk struct{}

func (disk) read(dir string) (f listed, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return f, oneLine(err)
	}
	f.written = unmarkedResults(dir)
	for _, e := range entries {
		name, isDir := e.Name(), e.IsDir()
		if hidden(name) {
			f.hidden = append(f.hidden, name)
			f.written = f.written || name == resultsMark
			continue
		}
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				return f, oneLine(err)
			}
			if isDir = info.IsDir(); isDir {
				f.links = append(f.links, name)
			}
		}
		switch {
		case isDir:
			f.folders = append(f.folders, name)
		case isImage(name):
			f.images = append(f.images, name)
		case extensionIn(foreign, name):
			f.foreign = append(f.foreign, name)
		default:
			f.others = append(f.others, name)
		}
	}
	return f, nil
}

func (disk) isFolder(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

func (disk) stat(path string) error {
	_, err := os.Stat(path)
	return oneLine(err)
}

// reader reads the index or the folders of a data set.
type reader struct {
	configs.Data
	*walker
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
	if there := r.find(dir); r.isFolder(there) {
		have, want := apart(dir, there)
		return fmt.Errorf("%s: no folder %s, but %s, which looks the same", key, have, want)
	}
	return fmt.Errorf("%s: no folder %q; %s", key, dir, layout)
}

// chooseClasses returns the requested classes, or all that were found in dir.
func chooseClasses(dir string, found, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return found, nil
	}
	var classes []string
	for _, class := range asked {
		class = canonical(class)
		if !slices.Contains(found, class) {
			return nil, fmt.Errorf("data.classes: have %q, want classes of %q, which has %s",
				class, dir, printable(strings.Join(found, ", ")))
		}
		if slices.Contains(classes, class) {
			return nil, fmt.Errorf("data.classes: have %q twice, want it once", class)
		}
		classes = append(classes, class)
	}
	return classes, nil
}
