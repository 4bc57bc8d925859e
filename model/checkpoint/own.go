package checkpoint

import (
	"context"
	"path/filepath"
	"time"

	"mvag-torch/internal/lock"
)

// LockOf is the file of the lock of whoever changes the checkpoint at path. There is one for each folder: what is in a run
// folder belongs together.
func LockOf(path string) string { return filepath.Join(filepath.Dir(path), "lock") }

// patience is how long Own waits for another change, which takes as long as writing a file.
const patience = 5 * time.Second

// Own keeps other processes from changing the checkpoint at path, and waits a moment for one that does. Where a training
// has its folder, or another process does not end, the error is a *[lock.Held] that names it.
func Own(path string) (*lock.Lock, error) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	return lock.Wait(ctx, LockOf(path), path, nil)
}
