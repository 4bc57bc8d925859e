package dataset

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
)

// folder reads a user's own folders: <root>/<good>, or <root>/<class>/<good> for several classes; next to it <bad>,
// whose subfolders are defect codes, and <masks>, which mirrors <bad>. The fraction data.holdout of the good objects of
// a class is for testing.
func (r reader) folder() (*Set, error) {
	p, err := r.pattern()
	if err != nil {
		return nil, err
	}
	layout := fmt.Sprintf("want <root>/%s, or <root>/<class>/%[1]s", r.Good)
	if err := r.wantFolder("data.root", r.Root, layout); err != nil {
		return nil, err
	}
	folders := map[string]string{}
	good, err := r.named(r.Root, r.Good)
	if err != nil {
		return nil, err
	}
	if good != "" {
		class, err := r.rootName()
		if err != nil {
			return nil, err
		}
		folders[class] = r.Root
	} else if folders, err = r.classFolders(r.Root, r.Good, false); err != nil {
		return nil, err
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("data.good: no folder %q in %q; %s", r.Good, r.Root, layout)
	}
	for _, p := range [][2]string{{"data.bad", r.Bad}, {"data.masks", r.Masks}} {
		holds := func(dir string) bool { folder, err := r.named(dir, p[1]); return folder != "" || err != nil } // said later
		if p[1] != "" && !slices.ContainsFunc(slices.Collect(maps.Values(folders)), holds) {
			return nil, fmt.Errorf("%s: no folder %q in %q beside %q", p[0], p[1], r.Root, r.Good)
		}
	}
	return r.classes(p, folders, r.readFolder, false)
}

// rootName is the class name if data.root contains a single class.
func (r reader) rootName() (string, error) {
	root, err := filepath.Abs(r.Root)
	return canonical(filepath.Base(root)), err
}

// readFolder reads one class.
func (r reader) readFolder(t *tree, dir string) error {
	var folders [3]string // of good and bad images and of masks, "" if there are none
	for i, name := range []string{r.Good, r.Bad, r.Masks} {
		if name == "" {
			continue
		}
		var err error
		if folders[i], err = t.named(dir, name); err != nil {
			return err
		}
	}
	if err := t.rest(dir, folders[:]...); err != nil {
		return err
	}
	good, bad := folders[0], folders[1]
	var err error
	if t.masks, err = findMasks(t.walker, folders[2]); err != nil {
		return err
	}
	names, err := t.images(good, t.wanted)
	if err == nil {
		err = t.add(good, "good", "", filepath.Base(good), names, false)
	}
	if err != nil {
		return err
	}
	holdOut(t.shots, r.Holdout)
	if bad == "" {
		return nil
	}
	byLabel, labels, err := t.labelled(bad, true)
	if err != nil {
		return err
	}
	for _, label := range labels {
		names := byLabel[label]
		if label == "" && len(names) == 0 || t.pattern.depth > 0 && len(names) == 0 { // a folder may be an object
			continue
		}
		if isGoodFolder(label) {
			return fmt.Errorf("%s: have a folder of good images in data.bad, want folders of defects", printable(filepath.Join(bad, label)))
		}
		code := canonical(cmp.Or(label, filepath.Base(bad)))
		if err := t.add(filepath.Join(bad, label), path.Join("bad", label), code, label, names, true); err != nil {
			return err
		}
	}
	return nil
}

// holdOut marks a fraction of the objects for testing: those whose names have the lowest hashes, so that adding or
// removing an image moves at most one object. If there are two objects and the fraction is not 0, each side gets at
// least one.
func holdOut(shots []shot, fraction float64) {
	type ranked struct {
		object string
		hash   [sha256.Size]byte
	}
	var objects []ranked
	seen := map[string]bool{}
	for _, s := range shots {
		if !seen[s.object] {
			seen[s.object] = true
			objects = append(objects, ranked{s.object, sha256.Sum256([]byte(s.object))})
		}
	}
	if fraction == 0 || len(objects) < 2 {
		return
	}
	slices.SortFunc(objects, func(a, b ranked) int { return cmp.Compare(string(a.hash[:]), string(b.hash[:])) })
	n := min(max(int(math.Round(fraction*float64(len(objects)))), 1), len(objects)-1)
	test := map[string]bool{}
	for _, o := range objects[:n] {
		test[o.object] = true
	}
	for i := range shots {
		shots[i].test = test[shots[i].object]
	}
}
