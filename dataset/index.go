package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// index is an index file of Real-IAD (docs/datasets.md).
type index struct {
	Meta  indexMeta    `json:"meta"`
	Train []indexEntry `json:"train"`
	Test  []indexEntry `json:"test"`
}

type indexMeta struct {
	Prefix      string `json:"prefix"`       // folder of the class below the image folder
	NormalClass string `json:"normal_class"` // the anomaly_class of good images
}

// indexEntry is one image. MaskPath is null for good images.
type indexEntry struct {
	Category     string  `json:"category"`
	AnomalyClass string  `json:"anomaly_class"`
	ImagePath    string  `json:"image_path"`
	MaskPath     *string `json:"mask_path"`
}

// mask returns the mask path, "" if there is none.
func (e indexEntry) mask() string {
	if e.MaskPath == nil {
		return ""
	}
	return *e.MaskPath
}

// once is the JSON of a key that must not appear twice.
type once json.RawMessage

func (o *once) UnmarshalJSON(data []byte) error {
	if *o != nil {
		return errors.New("have a key twice, want it once")
	}
	*o = bytes.Clone(data)
	return nil
}

// parseIndex reads an index file with the keys meta, train and test, each exactly once. Other top-level keys are
// refused because they could be splits that would be ignored. Unknown keys inside meta and entries are annotations and
// are skipped; whether required values are present is checked later. Errors give the byte offset or the entry.
func parseIndex(data []byte) (*index, error) {
	data, err := plainText(data)
	if err != nil {
		return nil, err
	}
	var raw struct{ Meta, Train, Test once }
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err = dec.Decode(&raw)
	if err == nil {
		if _, after := dec.Token(); after != io.EOF {
			err = errors.New("have data after the end of the index")
		}
	}
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("truncated at byte %d: %w", len(data), io.ErrUnexpectedEOF)
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("byte %d: %w", syntax.Offset, err)
	case err != nil:
		return nil, fmt.Errorf(`%w, want one JSON object with "meta", "train" and "test"`, inWords(err))
	}
	idx := new(index)
	if raw.Meta == nil {
		return nil, errors.New(`have no key "meta"`)
	}
	if err := json.Unmarshal(raw.Meta, &idx.Meta); err != nil {
		return nil, fmt.Errorf("meta: %w", inWords(err))
	}
	if idx.Train, err = parseEntries("train", raw.Train); err != nil {
		return nil, err
	}
	idx.Test, err = parseEntries("test", raw.Test)
	return idx, err
}

// parseEntries reads the entries of a split one by one, so that errors can name them.
func parseEntries(split string, data once) ([]indexEntry, error) {
	if data == nil || string(data) == "null" {
		return nil, fmt.Errorf("have no key %q or null, want a list", split)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", split, inWords(err))
	}
	entries := make([]indexEntry, len(list))
	for i := range list {
		if err := json.Unmarshal(list[i], &entries[i]); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", split, i, inWords(err))
		}
	}
	return entries, nil
}

// inWords says without the names of Go types what an error of encoding/json means.
func inWords(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		kinds := map[reflect.Kind]string{reflect.String: "a text in quotes", reflect.Slice: "a list", reflect.Struct: "an object", reflect.Pointer: "a text in quotes"}
		have, _, _ := strings.Cut(wrong.Value, " ") // "number 3.5"
		have = map[string]string{"bool": "true or false", "array": "a list", "object": "an object", "string": "a text", "number": "a number"}[have]
		where := ""
		if wrong.Field != "" {
			where = wrong.Field + ": "
		}
		return fmt.Errorf("%shave %s, want %s", where, have, kinds[wrong.Type.Kind()])
	}
	if key, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return fmt.Errorf("have the key %s", key)
	}
	return err
}
