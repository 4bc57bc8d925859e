package export

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzDescription holds that the description in a model file is refused in one line, or is the same after it has been
// written again.
func FuzzDescription(f *testing.F) {
	f.Add(`{"format":"` + Format + `"}`)
	f.Add(`{"format":"` + Format + `"}{}`)
	f.Add(`{"format":1}`)
	if text, err := (&Description{Format: Format}).Marshal(); err == nil {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDescription(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), MetadataKey+": ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("have %q, want one line that begins with the key", err)
			}
			return
		}
		again, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if e, err := ParseDescription(again); err != nil || !reflect.DeepEqual(d, e) {
			t.Errorf("have %+v, %v after it was written again, want %+v", e, err, d)
		}
	})
}
