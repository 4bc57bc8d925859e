package dataset

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// masks finds the masks of the images of a class in its folder of masks.
type masks struct {
	*walker
	dir    string            // "" if there are no masks
	byName map[string]string // slash-separated path below dir, by the same in canonical form without extension
	owner  map[string]owner  // by mask
	wanted []wantedMask
}

// owner is the image that a mask belongs to, and whether the mask lies in another folder than the image's.
type owner struct {
	image string
	flat  bool
}

// wantedMask is an image that may have a mask.
type wantedMask struct {
	shot   int    // index of the image in its tree
	folder string // of the label, below the folder of masks; "" for none
	name   string // of the image, below the folder of its label
}

// findMasks lists the masks below dir, which is "" if there are none.
func findMasks(w *walker, dir string) (*masks, error) {
	m := &masks{walker: w, dir: dir, byName: map[string]string{}, owner: map[string]owner{}}
	if dir == "" {
		return m, nil
	}
	found, err := w.images(dir, func(int) bool { return true })
	if err != nil {
		return nil, err
	}
	for _, file := range found {
		name := canonical(trimExt(file))
		if other := m.byName[name]; other != "" {
			a, b := apart(path.Base(other), path.Base(file))
			return nil, fmt.Errorf("%s: two masks of one name, %s and %s", printable(filepath.Join(dir, path.Dir(file))), a, b)
		}
		m.byName[name] = file
	}
	return m, nil
}

// of returns the mask of that name, or with _mask appended, "" if there is none.
func (m *masks) of(name string) string {
	name = canonical(trimExt(name))
	return cmp.Or(m.byName[name+"_mask"], m.byName[name])
}

// findFolders finds the folders of labels in any case, as other names of the layout. The folder of another label is not
// taken.
func (m *masks) findFolders() error {
	found := map[string]string{"": ""}
	for _, w := range m.wanted {
		found[w.folder] = w.folder
	}
	exact := func(label string) bool { return m.isFolder(filepath.Join(m.dir, label)) }
	for label := range maps.Clone(found) {
		if m.dir == "" || label == "" || exact(label) {
			continue
		}
		folder, err := m.named(m.dir, label)
		if err != nil {
			return err
		}
		if _, other := found[filepath.Base(folder)]; folder != "" && !other {
			found[label] = filepath.Base(folder)
		}
	}
	for i := range m.wanted {
		m.wanted[i].folder = found[m.wanted[i].folder]
	}
	return nil
}

// assign gives images their masks: those in the same folders as the images. A defective image without one gets that in
// the folder of its label, or in the folder of masks, of which no other image has the name. Masks of no image are passed
// over. depth is that of the pattern.
func (m *masks) assign(shots []shot, depth int) error {
	if err := m.findFolders(); err != nil {
		return err
	}
	for _, w := range m.wanted {
		if file := m.of(path.Join(w.folder, w.name)); file != "" {
			m.owner[file] = owner{image: shots[w.shot].Path}
			shots[w.shot].Mask = filepath.Join(m.dir, file)
		}
	}
	for _, w := range m.wanted {
		s, flat := &shots[w.shot], w.name
		if depth == 0 {
			flat = path.Base(flat)
		}
		for _, name := range []string{path.Join(w.folder, flat), flat} {
			file := m.of(name)
			o, taken := m.owner[file]
			switch {
			case s.Code == "" || s.Mask != "" || file == "" || taken && !o.flat:
			case taken:
				return fmt.Errorf("%s: have one mask for %q and %q, want folders of masks like those of the images", printable(filepath.Join(m.dir, file)), o.image, s.Path)
			default:
				m.owner[file] = owner{s.Path, true}
				s.Mask = filepath.Join(m.dir, file)
			}
		}
	}
	return m.check(shots)
}

// check passes over the masks of no image. If that is all masks of a label, it is an error: pixel metrics would be missing
// because of names.
func (m *masks) check(shots []shot) error {
	checked := map[string]bool{}
	for _, w := range m.wanted {
		if shots[w.shot].Code == "" || checked[w.folder] {
			continue
		}
		checked[w.folder] = true
		if err := m.checkLabel(w); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.byName)) {
		if _, ok := m.owner[m.byName[name]]; !ok {
			m.over.add(OverUnmatched, filepath.Join(m.dir, m.byName[name]))
		}
	}
	return nil
}

// checkLabel returns an error if there are masks in the folder of a label, but none belongs to an image. example is an
// image of the label.
func (m *masks) checkLabel(example wantedMask) error {
	var masks, used int
	several, stem := false, canonical(trimExt(path.Join(example.folder, example.name)))
	for name, file := range m.byName {
		if example.folder != "" && !strings.HasPrefix(name, canonical(example.folder)+"/") {
			continue
		}
		masks++
		if _, ok := m.owner[file]; ok {
			used++
		}
		several = several || strings.HasPrefix(name, stem+"/")
	}
	where, name := printable(filepath.Join(m.dir, example.folder)), trimExt(example.name)
	switch {
	case masks == 0 && example.folder != "": // those of all labels
		return m.checkLabel(wantedMask{example.shot, "", example.name})
	case masks == 0 || used > 0:
		return nil
	case several: // MVTec LOCO
		return fmt.Errorf("%s: have a folder of masks for %q, want one mask for each image", where, example.name)
	}
	return fmt.Errorf("%s: have no mask named like its image, want %q or %q for %q", where, name+".png", name+"_mask.png", example.name)
}
