package dataset

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"

	"mvag-torch/configs"
)

// openFolder opens folders of a user's own pictures: <root>/<good>, or
// <root>/<class>/<good> for several classes; likewise <bad>, in which folders
// are defect codes, and <masks>, which mirrors <bad>. Of the good objects of a
// class, data.holdout are kept for testing.
func openFolder(cfg configs.Data, _ bool) (*Set, error) {
	p, err := newPattern(cfg.Pattern)
	if err != nil {
		return nil, err
	}
	if err := p.check(cfg.Format, cfg.Views); err != nil {
		return nil, err
	}
	layout := fmt.Sprintf("want <root>/%s, or <root>/<class>/%[1]s", cfg.Good)
	if err := wantFolder("data.root", cfg.Root, layout); err != nil {
		return nil, err
	}
	folders := map[string]string{}
	if isFolder(filepath.Join(cfg.Root, cfg.Good)) {
		root, err := filepath.Abs(cfg.Root)
		if err != nil {
			return nil, err
		}
		folders[filepath.Base(root)] = cfg.Root
	} else if folders, err = classFolders(cfg.Root, cfg.Good, false); err != nil {
		return nil, err
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("data.good: no folder %q in %q; %s", cfg.Good, cfg.Root, layout)
	}
	for _, p := range [][2]string{{"data.bad", cfg.Bad}, {"data.masks", cfg.Masks}} {
		if p[1] != "" && !anyHolds(folders, p[1]) {
			return nil, fmt.Errorf("%s: no folder %q in %q beside %q", p[0], p[1], cfg.Root, cfg.Good)
		}
	}
	return readClasses(cfg, folders, func(class, dir string) ([]shot, error) {
		return readFolder(cfg, p, class, dir)
	})
}

// anyHolds reports whether one of the folders holds a folder of that name.
func anyHolds(folders map[string]string, name string) bool {
	for _, dir := range folders {
		if isFolder(filepath.Join(dir, name)) {
			return true
		}
	}
	return false
}

// readFolder reads one class.
func readFolder(cfg configs.Data, p pattern, class, dir string) ([]shot, error) {
	t := tree{class: class, pattern: p}
	if err := t.add(filepath.Join(dir, cfg.Good), "good", "", "", false); err != nil {
		return nil, err
	}
	hold(t.shots, cfg.Holdout)
	bad := filepath.Join(dir, cfg.Bad)
	if cfg.Bad == "" || !isFolder(bad) {
		return t.shots, nil
	}
	masks := ""
	if cfg.Masks != "" {
		masks = filepath.Join(dir, cfg.Masks)
	}
	if err := t.add(bad, "bad", path.Base(filepath.ToSlash(cfg.Bad)), masks, true); err != nil {
		return nil, err
	}
	codes, err := list(bad, true)
	if err != nil {
		return nil, err
	}
	for _, code := range codes {
		below := masks
		if masks != "" {
			below = filepath.Join(masks, code)
		}
		if err := t.add(filepath.Join(bad, code), path.Join("bad", code), code, below, true); err != nil {
			return nil, err
		}
	}
	return t.shots, nil
}

// hold marks a share of the objects as test objects: those whose names have the
// lowest hashes, so that a picture more or less moves one object at most. At
// least one object stays for training, and one is held where the share is not 0
// and there are two.
func hold(shots []shot, share float64) {
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
	if share == 0 || len(objects) < 2 {
		return
	}
	slices.SortFunc(objects, func(a, b ranked) int { return cmp.Compare(string(a.hash[:]), string(b.hash[:])) })
	n := min(max(int(math.Round(share*float64(len(objects)))), 1), len(objects)-1)
	held := map[string]bool{}
	for _, o := range objects[:n] {
		held[o.object] = true
	}
	for i := range shots {
		shots[i].test = held[shots[i].object]
	}
}
