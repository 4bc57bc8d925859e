package dataset

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// resultsMark is a file in each folder of images that the program writes: heat maps, overlays, sheets. Such a folder is
// never read as input, wherever it was moved or copied.
const resultsMark = ".mvag-torch-results"

// MarkResults makes dir, for images that the program writes, and marks it so that it is never read as input.
func MarkResults(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return oneLine(err)
	}
	mark := filepath.Join(dir, resultsMark)
	if _, err := os.Stat(mark); !errors.Is(err, fs.ErrNotExist) {
		return oneLine(err)
	}
	return oneLine(os.WriteFile(mark, []byte("mvag-torch wrote the images in this folder and does not read them as input.\n"), 0o644))
}
