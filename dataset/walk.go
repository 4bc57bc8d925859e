package dataset

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// walker reads folders and finds files in them.
type walker struct {
	files
	over   PassedOver                   // what it meets and does not take
	byName map[string]map[string]string // names in a folder, by folder and canonical name
}

func newWalker(f files) *walker { return &walker{f, PassedOver{}, map[string]map[string]string{}} }

// images returns the images below dir whose number of folders wanted accepts, as slash-separated paths relative to dir:
// those of a folder before those of its folders, each sorted. Others are passed over, as are folders of output and
// circular links.
func (w *walker) images(dir string, wanted func(depth int) bool) ([]string, error) {
	return w.walk(dir, "", 0, wanted, nil)
}

func (w *walker) walk(dir, rel string, depth int, wanted func(int) bool, via trail) ([]string, error) {
	here := filepath.Join(dir, rel)
	f, err := w.read(here)
	if err != nil {
		return nil, err
	}
	if f.written {
		w.over.add(OverWritten, here)
		return nil, nil
	}
	var found []string
	if wanted(depth) {
		for _, name := range f.images {
			found = append(found, path.Join(rel, name))
		}
	} else {
		w.over.add(OverDepth, joined(here, f.images)...)
	}
	w.over.add(OverForeign, joined(here, f.foreign)...)
	for _, name := range f.folders {
		to := via
		if slices.Contains(f.links, name) {
			var circular bool
			if to, circular = via.follow(here, name); circular {
				w.over.add(OverLoops, filepath.Join(here, name))
				continue
			}
		}
		more, err := w.walk(dir, path.Join(rel, name), depth+1, wanted, to)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// trail is the real paths of the folders that lead to the one being read.
type trail []string

// follow adds a linked folder in dir, and reports whether the link is circular: it leads to a folder of the trail, or to
// one above.
func (t trail) follow(dir, link string) (to trail, circular bool) {
	for i, path := range []string{dir, filepath.Join(dir, link)} {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			real, err = filepath.Abs(real)
		}
		inside := func(folder string) bool {
			below, err := filepath.Rel(real, folder)
			return err == nil && (below == "." || filepath.IsLocal(below))
		}
		if err != nil || i == 1 && slices.ContainsFunc(t, inside) {
			return t, true
		}
		t = append(slices.Clip(t), real)
	}
	return t, false
}

// joined returns the paths of names in dir.
func joined(dir string, names []string) []string {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(dir, name)
	}
	return paths
}

// named returns the folder in dir that a name of the layout stands for, "" if there is none. Names are compared in any
// case and normal form, and good, ok and normal are one name. Two such folders are an error.
func (w *walker) named(dir, name string) (string, error) {
	for part := range strings.SplitSeq(filepath.ToSlash(filepath.Clean(name)), "/") {
		if part == "." {
			continue
		}
		f, err := w.read(dir)
		if err != nil {
			return "", err
		}
		matching := slices.DeleteFunc(f.folders, func(folder string) bool {
			return !strings.EqualFold(canonical(folder), canonical(part)) && !(isGoodFolder(folder) && isGoodFolder(part))
		})
		switch len(matching) {
		case 0:
			return "", nil
		case 1:
			dir = filepath.Join(dir, matching[0])
		default:
			a, b := apart(matching[0], matching[1])
			return "", fmt.Errorf("%s: have the folders %s and %s for %q, want one of them", printable(dir), a, b, name)
		}
	}
	return dir, nil
}

// rest adds to what is passed over the images in dir itself, and the folders in it that are not among those used.
func (w *walker) rest(dir string, used ...string) error {
	f, err := w.read(dir)
	if err != nil {
		return err
	}
	w.over.add(OverOutside, joined(dir, f.images)...)
	for _, folder := range joined(dir, f.folders) {
		inside := func(path string) bool {
			return path == folder || strings.HasPrefix(path, folder+string(filepath.Separator))
		}
		if !slices.ContainsFunc(used, inside) {
			w.over.add(OverFolders, folder)
		}
	}
	return nil
}
