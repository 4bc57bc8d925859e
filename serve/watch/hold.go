package watch

import (
	"errors"
	"io/fs"
	"path/filepath"

	"mvag-torch/internal/lock"
)

// lockName is the file in a watched folder that says who watches it.
const lockName = ".mvag-torch.lock"

// hold keeps other processes from watching the folder. It is an error only where one does. A folder that is away is looked
// for again; in one that cannot be written nothing keeps others away, which is said.
func (w *Watcher) hold() error {
	if w.own != nil && w.own.Current() {
		return nil
	}
	w.Close() // the file was removed, or the folder is away
	own, err := lock.Take(filepath.Join(w.root, lockName), w.cfg.Path)
	var held *lock.Held
	if errors.As(err, &held) {
		return err
	}
	if w.own = own; own != nil {
		err = own.Unsupported
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.say("lock", err.Error(), func() {
			w.log.Warn("nothing keeps other services out of the folder: it cannot be locked", "error", err)
		})
	}
	return nil
}
