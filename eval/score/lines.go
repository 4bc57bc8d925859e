package score

import (
	"bytes"
	"encoding/json"

	"mvag-torch/eval/report"
)

// Names of the files of a class in a folder of maps (docs/format/maps.md).
const (
	MapsSuffix  = ".maps.npy"
	MasksSuffix = ".masks.npy"
	TableSuffix = ".jsonl"
)

// WriteLines writes one line of JSON a row; the file appears whole or not at
// all.
func WriteLines[T any](path string, rows []T) error {
	var out bytes.Buffer
	lines := json.NewEncoder(&out)
	lines.SetEscapeHTML(false)
	for _, row := range rows {
		if err := lines.Encode(row); err != nil {
			return err
		}
	}
	return report.Replace(path, out.Bytes())
}
