package score

import (
	"encoding/json"
	"io"
	"net/url"
	"strings"

	"mvag-torch/internal/atomicfile"
)

// Names of the files of a class in a folder of maps (docs/format/maps.md), after FileName.
const (
	MapsSuffix  = ".maps.npy"
	MasksSuffix = ".masks.npy"
	TableSuffix = ".jsonl"
)

// FileName is what files of a class are called: its name, with % and what cannot be in the name of a file as %XX.
func FileName(class string) string {
	name := strings.NewReplacer("%", "%25", "/", "%2F", `\`, "%5C", "\x00", "%00").Replace(class)
	if strings.HasPrefix(name, ".") { // hidden
		name = "%2E" + name[1:]
	}
	return name
}

// className undoes FileName; a name that FileName does not make stands for itself.
func className(file string) string {
	class, err := url.PathUnescape(file)
	if err != nil || FileName(class) != file {
		return file
	}
	return class
}

// WriteLines writes one line of JSON a row; the file appears whole or not at all.
func WriteLines[T any](path string, rows []T) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		lines := json.NewEncoder(w)
		lines.SetEscapeHTML(false)
		for _, row := range rows {
			if err := lines.Encode(row); err != nil {
				return err
			}
		}
		return nil
	})
}
