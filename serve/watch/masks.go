package watch

import (
	"os"
	"path"
	"path/filepath"
	"slices"

	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
)

// passMasks passes masks beside their images over, as data sets do, also while one is still there and its image is gone.
func (w *Watcher) passMasks(l *listing) {
	for rel, info := range l.masks {
		w.masks[rel], _ = identOf(info)
	}
	for rel, id := range w.masks {
		info := l.masks[rel]
		if alone := l.files[rel]; alone != nil {
			if have, _ := identOf(alone); have == id {
				info = alone
				delete(l.files, rel)
			}
		}
		if info == nil {
			delete(w.masks, rel)
			continue
		}
		l.passed[rel] = "mask beside its image"
	}
}

// moveMasks moves the masks of an image into the folder that the image was moved to.
func (w *Watcher) moveMasks(image, folder string) {
	for rel := range w.masks {
		name := path.Base(rel)
		if path.Dir(rel) != path.Dir(image) || !slices.Contains(dataset.Masks([]string{path.Base(image), name}), name) {
			continue
		}
		to, err := free(filepath.Join(folder, name))
		if err == nil {
			err = os.Rename(filepath.Join(w.root, filepath.FromSlash(rel)), to)
		}
		if err != nil && !os.IsNotExist(err) {
			w.say("mask "+rel, err.Error(), func() {
				w.log.Error("mask cannot be moved with its image", "file", rel, "error", atomicfile.Cause(err))
			})
			continue
		}
		delete(w.masks, rel)
	}
}
