package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mvag-torch/configs"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/lock"
	"mvag-torch/model/checkpoint"
)

// Owned is a run folder in which no other process trains or changes the checkpoint.
type Owned struct {
	*lock.Lock
	folder string
	made   bool
}

// Own keeps other processes out of the run folder of a configuration, which it makes if there is none. Where another one
// has it the error is a *[lock.Held] that names it. The caller of [Run] and [Enroll], over several ranks rank 0, holds it
// until all that belongs to the run is in the folder.
func Own(cfg configs.Config) (*Owned, error) {
	o := &Owned{folder: Folder(cfg)}
	for {
		_, err := os.Stat(o.folder)
		o.made = errors.Is(err, fs.ErrNotExist)
		if err := os.MkdirAll(o.folder, 0o755); err != nil {
			return nil, fmt.Errorf("output: %s: %w", o.folder, atomicfile.Cause(err))
		}
		o.Lock, err = lock.Take(checkpoint.LockOf(filepath.Join(o.folder, CheckpointName)), o.folder)
		switch {
		case errors.Is(err, fs.ErrNotExist): // its owner had made the folder, and has removed it
		case err != nil:
			return nil, err
		default:
			return o, nil
		}
	}
}

// Release lets others have the folder, and removes it if Own has made it and nothing is in it. o may be nil.
func (o *Owned) Release() {
	if o == nil {
		return
	}
	o.Lock.Release()
	if o.made {
		_ = os.Remove(o.folder) // only an empty one can be removed
	}
}
