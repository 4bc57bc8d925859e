package dataset

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mvag-torch/internal/atomicfile"
)

// resultsMark is a file in each folder of images that the program writes: heat maps, overlays, sheets. Such a folder is
// never read as input, wherever it was moved or copied.
const resultsMark = ".mvag-torch-results"

// MarkResults makes dir, for images that the program writes, and marks it so that it is never read as input. A mark
// without its text, as a killed process could leave it, gets it.
func MarkResults(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return oneLine(err)
	}
	mark := filepath.Join(dir, resultsMark)
	if info, err := os.Stat(mark); err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return oneLine(err)
	}
	return oneLine(atomicfile.Write(mark, func(w io.Writer) error {
		_, err := io.WriteString(w, "mvag-torch wrote the images in this folder and does not read them as input.\n")
		return err
	}))
}

// besides are the files beside a folder of images that a version of the program wrote that did not mark it.
var besides = map[string][]string{
	"heat":     {"predictions.jsonl"},
	"overlay":  {"predictions.jsonl"},
	"pictures": {"results.json", "scores.jsonl"},
}

// unmarkedResults reports whether dir is such a folder.
func unmarkedResults(dir string) bool {
	files := besides[filepath.Base(dir)]
	for _, name := range files {
		if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Clean(dir)), name)); err != nil {
			return false
		}
	}
	return files != nil
}
