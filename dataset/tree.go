package dataset

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/configs"
)

const mvtecLayout = "want <root>/<class>/train/good, .../test/{good,<defect>} and .../ground_truth/<defect>"

// openMVTec opens a set in the layout of MVTec AD (realiad.md section B5), as
// MPDD, MAD and the reorganised VisA have it: <class>/train/good,
// <class>/test/{good,<defect>}, <class>/ground_truth/<defect> with masks of the
// picture's name, with _mask or without. BTAD's "ok" is "good".
func openMVTec(cfg configs.Data, _ bool) (*Set, error) {
	p, err := newPattern(cfg.Pattern)
	if err != nil {
		return nil, err
	}
	if err := p.check(cfg.Format, cfg.Views); err != nil {
		return nil, err
	}
	return readTrees(cfg, p, false, mvtecLayout)
}

// openManta opens MANTA or MANTA-Tiny (realiad.md section B5): MVTec's layout in
// <domain>/<class> or <class>, each file a strip of data.views pictures side by
// side. The label of a strip is that of all its views.
func openManta(cfg configs.Data, _ bool) (*Set, error) {
	return readTrees(cfg, pattern{}, true, "want <root>/<domain>/<class>/train/good, .../test/{good,<defect>} and .../ground_truth/<defect>")
}

// readTrees reads the classes below data.root.
func readTrees(cfg configs.Data, p pattern, strips bool, layout string) (*Set, error) {
	if err := wantFolder("data.root", cfg.Root, layout); err != nil {
		return nil, err
	}
	folders, err := classFolders(cfg.Root, "train", strips)
	if err != nil {
		return nil, err
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("data.root: no class in %q; %s", cfg.Root, layout)
	}
	return readClasses(cfg, folders, func(class, dir string) ([]shot, error) {
		t := tree{class: class, pattern: p}
		if err := t.read(dir); err != nil {
			return nil, err
		}
		if strips {
			return cut(t.shots, cfg.Views), nil
		}
		return t.shots, nil
	})
}

// classFolders returns the folders in root that hold a folder of that name, by
// their own name; with domains, also those one level deeper.
func classFolders(root, holds string, domains bool) (map[string]string, error) {
	found := map[string]string{}
	names, err := list(root, true)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		dir := filepath.Join(root, name)
		if isFolder(filepath.Join(dir, holds)) {
			if found[name] != "" {
				return nil, fmt.Errorf("class %q: have it in %q and in %q, want it once", name, found[name], dir)
			}
			found[name] = dir
			continue
		}
		if !domains {
			continue
		}
		below, err := classFolders(dir, holds, false)
		if err != nil {
			return nil, err
		}
		for class, dir := range below {
			if found[class] != "" {
				return nil, fmt.Errorf("class %q: have it in %q and in %q, want it once", class, found[class], dir)
			}
			found[class] = dir
		}
	}
	return found, nil
}

// readClasses assembles the classes asked for, or all by name.
func readClasses(cfg configs.Data, folders map[string]string, read func(class, dir string) ([]shot, error)) (*Set, error) {
	found := make([]string, 0, len(folders))
	for class := range folders {
		found = append(found, class)
	}
	slices.Sort(found)
	classes, err := chooseClasses(cfg.Root, found, cfg.Classes)
	if err != nil {
		return nil, err
	}
	var listings []listing
	for _, class := range classes {
		shots, err := read(class, folders[class])
		if err != nil {
			return nil, err
		}
		listings = append(listings, listing{class, folders[class], shots})
	}
	return assemble(listings, cfg.Views)
}

// isGood reports whether a folder or label is one of good pictures.
func isGood(name string) bool {
	return slices.Contains([]string{"good", "ok", "normal"}, strings.ToLower(name))
}

// tree gathers the pictures of one class from folders.
type tree struct {
	class   string
	pattern pattern
	shots   []shot
}

// read reads a class in MVTec's layout.
func (t *tree) read(dir string) error {
	for _, split := range []string{"train", "test"} {
		if split == "test" && !isFolder(filepath.Join(dir, split)) {
			continue
		}
		codes, err := list(filepath.Join(dir, split), true)
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
				return fmt.Errorf("%s: have a folder of defects, want good training pictures only", printable(from))
			}
			if err := t.add(from, path.Join(split, filepath.Base(from)), code, masks, split == "test"); err != nil {
				return err
			}
		}
	}
	return nil
}

// add reads a folder of pictures of one label. Objects are named by prefix and
// pattern; masks is a folder that need not be there, or "".
func (t *tree) add(dir, prefix, code, masks string, test bool) error {
	names, err := pictures(dir, t.pattern.depth)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !t.pattern.takes(name) })
	if len(names) == 0 {
		return nil
	}
	found, err := findMasks(masks, t.pattern.depth)
	if err != nil {
		return err
	}
	for _, name := range names {
		object, camera, err := t.pattern.split(name)
		if err != nil {
			return fmt.Errorf("%s: %w", printable(dir), err)
		}
		s := shot{class: t.class, object: path.Join(prefix, object), camera: camera, test: test}
		s.Path, s.Code = filepath.Join(dir, name), code
		if code != "" {
			s.Mask = found.of(name)
		}
		t.shots = append(t.shots, s)
	}
	return found.check(names[0])
}

// cut makes each strip an object of that many views.
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
