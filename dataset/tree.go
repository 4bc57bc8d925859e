package dataset

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const mvtecLayout = "want <root>/<class>/train/good, .../test/{good,<defect>} and .../ground_truth/<defect>"

// mvtec reads a class in the layout of MVTec AD.
func (r reader) mvtec() (*Set, error) {
	p, err := r.pattern()
	if err != nil {
		return nil, err
	}
	return r.trees(p, false, mvtecLayout)
}

// manta reads MANTA and MANTA-Tiny (docs/datasets.md): the layout of MVTec AD in <domain>/<class> or <class>, with
// strips of data.views images as files. The label of a strip applies to all its views.
func (r reader) manta() (*Set, error) {
	return r.trees(pattern{}, true, "want <root>/<domain>/<class>/train/good, .../test/{good,<defect>} and .../ground_truth/<defect>")
}

// pattern compiles data.pattern and checks that it fits the format and the number of views.
func (r reader) pattern() (pattern, error) {
	p, err := newPattern(r.Pattern)
	switch {
	case err != nil:
	case p.match != nil && (!p.has("object") || p.has("class")):
		err = fmt.Errorf("have %q, want {object} and no {class} in it: folders are classes", r.Pattern)
	case r.Views != 1 && !p.has("camera"):
		return p, fmt.Errorf("data.views: have %d, want 1 with data.format %s, or a data.pattern with {camera} in it", r.Views, r.Format)
	}
	if err != nil {
		return p, fmt.Errorf("data.pattern: %w", err)
	}
	return p, nil
}

// trees reads all classes below data.root.
func (r reader) trees(p pattern, strips bool, layout string) (*Set, error) {
	if err := r.wantFolder("data.root", r.Root, layout); err != nil {
		return nil, err
	}
	folders, err := r.classFolders(r.Root, "train", strips)
	if err != nil {
		return nil, err
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("data.root: no class in %q; %s", r.Root, layout)
	}
	return r.classes(p, folders, (*tree).mvtec, strips)
}

// classFolders returns the folders in root that contain a folder of the given name, by class. With domains, it also
// searches one level deeper. Others are passed over.
func (r reader) classFolders(root, holds string, domains bool) (map[string]string, error) {
	found := map[string]string{}
	f, err := r.read(root)
	if err != nil {
		return nil, err
	}
	r.over.add(OverOutside, joined(root, f.images)...)
	for _, name := range f.folders {
		dir := filepath.Join(root, name)
		classes := map[string]string{canonical(name): dir}
		held, err := r.named(dir, holds)
		if err == nil && held == "" {
			if classes = nil; domains {
				classes, err = r.classFolders(dir, holds, false)
			} else {
				r.over.add(OverNoClass, dir)
			}
		}
		if err != nil {
			return nil, err
		}
		for class, dir := range classes {
			if found[class] != "" {
				a, b := apart(found[class], dir)
				return nil, fmt.Errorf("class %q: have it in %s and in %s, want it once", class, a, b)
			}
			found[class] = dir
		}
	}
	return found, nil
}

// classes assembles the requested classes, or all sorted by name. read adds the images of a class to a tree; they may be
// strips.
func (r reader) classes(p pattern, folders map[string]string, read func(t *tree, dir string) error, strips bool) (*Set, error) {
	classes, err := chooseClasses(r.Root, slices.Sorted(maps.Keys(folders)), r.Classes)
	if err != nil {
		return nil, err
	}
	var listings []listing
	for _, class := range classes {
		t := &tree{walker: r.walker, class: class, pattern: p}
		if err := read(t, folders[class]); err != nil {
			return nil, err
		}
		if err := t.masks.assign(t.shots, p.depth); err != nil {
			return nil, err
		}
		if len(t.shots) == 0 {
			if err := t.onlyForeign(folders[class]); err != nil {
				return nil, err
			}
		}
		if strips {
			t.shots = cut(t.shots, r.Views)
		}
		listings = append(listings, listing{class, folders[class], t.shots})
	}
	set, err := assemble(listings, r.Views)
	if err == nil {
		set.Naming.Pattern = p.text
	}
	return set, err
}

// onlyForeign returns an error if all images below dir are of formats that are not read.
func (t *tree) onlyForeign(dir string) error {
	var foreign []string
	for _, file := range t.over[OverForeign] {
		if strings.HasPrefix(file, dir+string(filepath.Separator)) {
			foreign = append(foreign, file)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	return fmt.Errorf("%s: class %q: %s; want one of %s", printable(dir), t.class, counted("have only "+string(OverForeign), foreign), strings.Join(extensions, ", "))
}

// tree collects the images of one class.
type tree struct {
	*walker
	class   string
	pattern pattern
	shots   []shot
	masks   *masks
}

// mvtec reads a class in MVTec's layout.
func (t *tree) mvtec(dir string) error {
	truth, err := t.named(dir, "ground_truth")
	if err == nil {
		t.masks, err = findMasks(t.walker, truth)
	}
	used := []string{truth}
	for _, split := range []string{"train", "test"} {
		var folder string
		if err == nil {
			folder, err = t.named(dir, split)
		}
		if err == nil && folder != "" {
			used = append(used, folder)
			err = t.split(folder, split)
		}
	}
	if err != nil {
		return err
	}
	return t.rest(dir, used...)
}

// split reads the folders of labels of a split.
func (t *tree) split(dir, split string) error {
	byLabel, labels, err := t.labelled(dir, false)
	if err == nil {
		_, err = t.named(dir, "good") // two are an error
	}
	if err != nil {
		return err
	}
	for _, label := range labels {
		from, code := filepath.Join(dir, label), canonical(label)
		switch {
		case isGoodFolder(label):
			code = ""
		case split == "train":
			return fmt.Errorf("%s: have a folder of defects, want good training images only", printable(from))
		}
		if err := t.add(from, path.Join(split, label), code, label, byLabel[label], split == "test"); err != nil {
			return err
		}
	}
	return nil
}

// labelled returns the images in the folders of labels in dir, by folder, and the folders. If direct, images may also be
// in dir itself, under the label "".
func (t *tree) labelled(dir string, direct bool) (byLabel map[string][]string, labels []string, err error) {
	f, err := t.read(dir)
	if err != nil {
		return nil, nil, err
	}
	found, err := t.images(dir, func(depth int) bool {
		return direct && depth == t.pattern.depth || t.wanted(depth-1)
	})
	byLabel = map[string][]string{}
	for _, name := range found {
		label, below := "", name
		if strings.Count(name, "/") > t.pattern.depth || !direct {
			label, below, _ = strings.Cut(name, "/")
		}
		byLabel[label] = append(byLabel[label], below)
	}
	if direct {
		labels = append(labels, "")
	}
	return byLabel, append(labels, f.folders...), err
}

// wanted reports whether images lie in that number of folders below that of their label: as many as the pattern has, or,
// if that is none, in one more: of a day or a batch.
func (t *tree) wanted(depth int) bool {
	return depth == t.pattern.depth || depth == 1 && t.pattern.depth == 0
}

// add adds images of one label, given by their paths below dir. Object names are prefix plus what the pattern finds.
// masks is the folder of their masks below that of the class.
func (t *tree) add(dir, prefix, code, masks string, names []string, test bool) error {
	taken := len(t.shots)
	for _, name := range names {
		if !t.pattern.takes(name) {
			t.over.add(OverOther, filepath.Join(dir, name))
			continue
		}
		batch, file := "", name
		if t.pattern.depth == 0 {
			batch, file = path.Split(name)
		}
		parts, err := t.pattern.split(file)
		if err != nil {
			return fmt.Errorf("%s: %w (data.pattern)", printable(filepath.Join(dir, batch)), err)
		}
		s := shot{class: t.class, object: canonical(path.Join(prefix, batch, parts.object)), camera: canonical(parts.camera), test: test}
		s.Path, s.Code = filepath.Join(dir, name), code
		t.masks.wanted = append(t.masks.wanted, wantedMask{len(t.shots), masks, name})
		t.shots = append(t.shots, s)
	}
	if len(t.shots) == taken && !slices.Contains(t.over[OverWritten], dir) {
		t.over.add(OverEmpty, dir)
	}
	return nil
}

// cut splits each strip into the views of an object.
func cut(strips []shot, views int) []shot {
	shots := make([]shot, 0, len(strips)*views)
	for _, s := range strips {
		for part := range views {
			s.camera = fmt.Sprint(part + 1)
			s.Part, s.Parts = part, views
			shots = append(shots, s)
		}
	}
	return shots
}
