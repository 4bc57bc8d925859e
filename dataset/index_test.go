package dataset

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"mvag-torch/configs"
)

const smallIndex = `{"meta": {"prefix": "gear/", "normal_class": "OK", "pre_transform": false},
"train": [{"category": "gear", "anomaly_class": "OK", "image_path": "OK/S1/a_C1_1.jpg", "mask_path": null}],
"test": [{"category": "gear", "anomaly_class": "AK", "image_path": "NG/S1/a_C1_1.jpg", "mask_path": "NG/S1/a_C1_1.png", "note": [1]}]}`

func TestParseIndex(t *testing.T) {
	idx, err := parseIndex([]byte(smallIndex))
	if err != nil {
		t.Fatal(err)
	}
	mask := "NG/S1/a_C1_1.png"
	want := &index{
		Meta:  indexMeta{Prefix: "gear/", NormalClass: "OK"},
		Train: []indexEntry{{"gear", "OK", "OK/S1/a_C1_1.jpg", nil}},
		Test:  []indexEntry{{"gear", "AK", "NG/S1/a_C1_1.jpg", &mask}},
	}
	if !reflect.DeepEqual(idx, want) {
		t.Errorf("have %+v, want %+v", idx, want)
	}
}

func TestParseIndexErrors(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		phrases    []string
	}{
		{"empty", "", []string{"truncated at byte 0"}},
		{"a list", "[]", []string{`want one JSON object with "meta", "train" and "test"`, "have a list"}},
		{"a word", "null", []string{`have no key "meta"`}},
		{"not JSON", "gear", []string{"byte 1: ", "invalid character"}},
		{"no test", `{"meta": {}, "train": []}`, []string{`no key "test"`}},
		{"no meta", `{"train": [], "test": []}`, []string{`no key "meta"`}},
		{"unknown key", `{"meta": {}, "trian": []}`, []string{`want one JSON object with "meta", "train" and "test"`, `have the key "trian"`}},
		{"key twice", `{"train": [], "train": []}`, []string{"have a key twice"}},
		{"train is null", `{"meta": {}, "train": null, "test": []}`, []string{`no key "train" or null`}},
		{"train is a word", `{"meta": {}, "train": "x", "test": []}`, []string{"train: have a text, want a list"}},
		{"number for a path", `{"meta": {}, "train": [{"image_path": 3}], "test": []}`, []string{"train[0]: image_path: have a number, want a text in quotes"}},
		{"number for a prefix", `{"meta": {"prefix": 3}, "train": [], "test": []}`, []string{"meta: prefix: have a number, want a text in quotes"}},
		{"true for a label", `{"meta": {}, "train": [{"anomaly_class": true}], "test": []}`, []string{"train[0]: anomaly_class: have true or false, want a text in quotes"}},
		{"a list for a mask", `{"meta": {}, "train": [], "test": [{"mask_path": ["a"]}]}`, []string{"test[0]: mask_path: have a list, want a text in quotes"}},
		{"a number for an entry", `{"meta": {}, "train": [3], "test": []}`, []string{"train[0]: have a number, want an object"}},
		{"a label beside the splits", `{"meta": {}, "train": [], "test": [], "label": true}`, []string{`have the key "label"`}},
		{"fault in the second", `{"train": [{}, {"a":}]}`, []string{"byte 21: ", "invalid character '}'"}},
		{"truncated", `{"train": [{}, {"image_path": "OK/S`, []string{"truncated at byte 35"}},
		{"more after it", `{"meta": {}, "train": [], "test": []} {}`, []string{"data after the end"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseIndex([]byte(tt.data))
			wantError(t, err, tt.phrases...)
		})
	}
}

// TestParseIndexTruncated: an index file truncated anywhere is a clear error.
func TestParseIndexTruncated(t *testing.T) {
	for n := range len(smallIndex) {
		_, err := parseIndex([]byte(smallIndex[:n]))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at byte %d: have %v, want a truncated file", n, err)
		}
	}
}

func TestOpenTruncatedIndex(t *testing.T) {
	f := newFixture(t)
	f.write(t)
	file := filepath.Join(f.root, "jsons", "gear.json")
	if err := os.Truncate(file, 200); err != nil {
		t.Fatal(err)
	}
	_, err := Open(f.config())
	wantError(t, err, file+": truncated at byte 200")
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(smallIndex))
	f.Add([]byte(`{"meta": {}, "train": [], "test": [null]}`))
	f.Add([]byte(`{"train": [{"image_path": "\ud800"}]`))
	f.Add([]byte("\ufeff" + smallIndex))
	f.Add([]byte(`{"meta": {"normal_class": "ok", "prefix": "a\\"}, "train": [{"category": "gear", "anomaly_class": "OK ", "image_path": "Ge\u00e4\\a_C1_1.jpg"}], "test": []}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		idx, err := parseIndex(data)
		if err != nil {
			return
		}
		written, err := json.Marshal(idx)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseIndex(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if !reflect.DeepEqual(again, idx) {
			t.Errorf("have %+v, want %+v", again, idx)
		}
		// What the reader makes of it has a place for every camera.
		for _, format := range []string{"realiad", "realiad_variety"} {
			shots, err := reader{Data: configs.Data{Format: format, Views: 5}, walker: newWalker(disk{})}.realiadClass(data, "gear", "pics")
			if err != nil {
				continue
			}
			if set, err := assemble([]listing{{"gear", "gear.json", shots}}, 5); err == nil {
				sound(t, set, "pics", 5)
			}
		}
	})
}
