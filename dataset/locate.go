package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/configs"
)

// layout says in one line what a Real-IAD folder looks like.
func layout(cfg configs.Data) string {
	return fmt.Sprintf("want <root>/%s/<class>.json and <root>/%s/<class>/OK/S0001/...", cfg.Index, cfg.Images)
}

// wantFolder returns an error that names the setting and the layout wanted
// unless dir is a folder.
func wantFolder(key, dir, layout string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no folder %q; %s", key, dir, layout)
	case err != nil:
		return fmt.Errorf("%s: %w", key, err)
	case !info.IsDir():
		return fmt.Errorf("%s: %q is not a folder; %s", key, dir, layout)
	}
	return nil
}

// findIndex returns the folder of the index files and the classes it has.
func findIndex(cfg configs.Data) (dir string, classes []string, err error) {
	plain := filepath.Join(cfg.Root, cfg.Index)
	if err := wantFolder("data.index", plain, layout(cfg)); err != nil {
		return "", nil, err
	}
	for _, dir := range []string{plain, filepath.Join(plain, filepath.Base(cfg.Index))} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, fmt.Errorf("data.index: %w", err)
		}
		for _, e := range entries {
			class, ok := strings.CutSuffix(e.Name(), ".json")
			if ok && !e.IsDir() && !strings.HasPrefix(class, ".") {
				classes = append(classes, class)
			}
		}
		if len(classes) > 0 {
			return dir, classes, nil
		}
	}
	return "", nil, fmt.Errorf("data.index: no index file (*.json) in %q; %s", plain, layout(cfg))
}

// chooseClasses returns the classes asked for, or all that were found.
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

// findPictures returns the folder to which prefix and paths of a class are
// relative: images, or the class folder in it. It looks only for the first
// picture of each split and the first mask, which is enough to notice a wrong
// root or folder before hours of training; 150,000 files take too long.
func findPictures(images, class string, idx *index) (string, error) {
	var probes []string
	for _, entries := range [][]indexEntry{idx.Train, idx.Test} {
		if len(entries) > 0 {
			probes = append(probes, entries[0].ImagePath)
		}
	}
	for _, e := range slices.Concat(idx.Test, idx.Train) {
		if mask := e.mask(); mask != "" {
			probes = append(probes, mask)
			break
		}
	}
	folders := []string{images, filepath.Join(images, class)}
	for _, probe := range probes {
		probe = filepath.Join(idx.Meta.Prefix, probe)
		folders = slices.DeleteFunc(folders, func(dir string) bool {
			_, err := os.Stat(filepath.Join(dir, probe))
			return err != nil
		})
		if len(folders) == 0 {
			return "", fmt.Errorf("no file %q in data.images %q; want <root>/<images>/<meta.prefix><image_path>", probe, images)
		}
	}
	return folders[0], nil
}
