package dataset

import (
	"fmt"
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
	return r.classes(p, folders, func(t *tree, dir string) error {
		err := t.mvtec(dir)
		if strips {
			t.shots = cut(t.shots, r.Views)
		}
		return err
	})
}

// classFolders returns the folders in root that contain a folder of the given name, by class. With domains, it also
// searches one level deeper.
func (r reader) classFolders(root, holds string, domains bool) (map[string]string, error) {
	found := map[string]string{}
	names, err := r.list(root, true)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		classes := map[string]string{name: filepath.Join(root, name)}
		if !r.isFolder(filepath.Join(root, name, holds)) {
			if !domains {
				continue
			}
			if classes, err = r.classFolders(filepath.Join(root, name), holds, false); err != nil {
				return nil, err
			}
		}
		for class, dir := range classes {
			if found[class] != "" {
				return nil, fmt.Errorf("class %q: have it in %q and in %q, want it once", class, found[class], dir)
			}
			found[class] = dir
		}
	}
	return found, nil
}

// classes assembles the requested classes, or all sorted by name. read adds the images of a class to a tree.
func (r reader) classes(p pattern, folders map[string]string, read func(t *tree, dir string) error) (*Set, error) {
	found := make([]string, 0, len(folders))
	for class := range folders {
		found = append(found, class)
	}
	slices.Sort(found)
	classes, err := chooseClasses(r.Root, found, r.Classes)
	if err != nil {
		return nil, err
	}
	var listings []listing
	for _, class := range classes {
		t := &tree{files: r.files, class: class, pattern: p}
		if err := read(t, folders[class]); err != nil {
			return nil, err
		}
		listings = append(listings, listing{class, folders[class], t.shots})
	}
	set, err := assemble(listings, r.Views)
	if err == nil {
		set.Naming.Pattern = p.text
	}
	return set, err
}

// isGood reports whether a folder or label means good images.
func isGood(name string) bool {
	return slices.Contains([]string{"good", "ok", "normal"}, strings.ToLower(name))
}

// tree collects the images of one class.
type tree struct {
	files
	class   string
	pattern pattern
	shots   []shot
}

// mvtec reads a class in MVTec's layout.
func (t *tree) mvtec(dir string) error {
	for _, split := range []string{"train", "test"} {
		if split == "test" && !t.isFolder(filepath.Join(dir, split)) {
			continue
		}
		codes, err := t.list(filepath.Join(dir, split), true)
		if err != nil {
			return err
		}
		for _, code := range codes {
			from := filepath.Join(dir, split, code)
			masks := filepath.Join(dir, "ground_truth", code)
			switch {
			case isGood(code):
				code, masks = "", ""
			case split == "train":
				return fmt.Errorf("%s: have a folder of defects, want good training images only", printable(from))
			}
			if err := t.add(from, path.Join(split, filepath.Base(from)), code, masks, split == "test"); err != nil {
				return err
			}
		}
	}
	return nil
}

// add reads a folder of images with one label. Object names are prefix plus what the pattern finds. masks is an
// optional folder, or "".
func (t *tree) add(dir, prefix, code, masks string, test bool) error {
	names, err := imagesIn(t, dir, t.pattern.depth)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !t.pattern.takes(name) })
	if len(names) == 0 {
		return nil
	}
	found, err := findMasks(t, masks, t.pattern.depth)
	if err != nil {
		return err
	}
	for _, name := range names {
		parts, err := t.pattern.split(name)
		if err != nil {
			return fmt.Errorf("%s: %w (data.pattern)", printable(dir), err)
		}
		s := shot{class: t.class, object: path.Join(prefix, parts.object), camera: parts.camera, test: test}
		s.Path, s.Code = filepath.Join(dir, name), code
		if code != "" {
			s.Mask = found.of(name)
		}
		t.shots = append(t.shots, s)
	}
	return found.check(names[0])
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
