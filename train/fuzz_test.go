package train

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mvag-torch/dataset"
)

// FuzzRoll holds that what a rank says is refused, or is the same after it has been said again.
func FuzzRoll(f *testing.F) {
	f.Add(roll{stop: true, present: []bool{true, false, true}, skipped: []dataset.LeftOut{{Path: "a", Message: "b"}}}.encode())
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := decodeRoll(text)
		if err != nil {
			return
		}
		if len(c.present) > 8*len(text) || len(c.skipped) > len(text) {
			t.Errorf("have %d flags and %d images of %d bytes", len(c.present), len(c.skipped), len(text))
		}
		if again, err := decodeRoll(c.encode()); err != nil || !reflect.DeepEqual(c, again) {
			t.Errorf("have %+v, %v, want %+v", again, err, c)
		}
	})
}

// FuzzMessage is FuzzRoll for what a rank says of the features of an object.
func FuzzMessage(f *testing.F) {
	said, err := encoded{Read: []bool{true, false}, Skipped: []skipped{{1, "cut"}}}.message(nil, []byte("features"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(said, uint8(2))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, uint8(1))
	f.Add([]byte("\x24\x00\x00\x00"+`{"skipped":[{"view":-1,"why":"cut"}]}`), uint8(1))
	f.Fuzz(func(t *testing.T, said []byte, views uint8) {
		e, features, err := decodeMessage(said, int(views))
		if err != nil {
			return
		}
		if len(e.Read) != int(views) || len(features) > len(said) {
			t.Errorf("have %d views of %d and %d bytes of %d", len(e.Read), views, len(features), len(said))
		}
		for _, lost := range e.Skipped {
			if lost.View < 0 || lost.View >= int(views) {
				t.Errorf("have view %d of %d", lost.View, views)
			}
		}
	})
}

// FuzzJournal holds that of a journal of any text only whole lines of earlier iterations are kept, or that it stays as it
// is with an error that names file and line.
func FuzzJournal(f *testing.F) {
	f.Add([]byte("{\"iteration\":0}\n{\"iteration\":1}\n{\"iter"), 1)
	f.Add([]byte("{\"iteration\":-1}\nnull\n\n"), 2)
	path := filepath.Join(f.TempDir(), "train.jsonl")
	f.Fuzz(func(t *testing.T, text []byte, start int) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(path, start)
		if err == nil {
			err = j.close()
		}
		have, failed := os.ReadFile(path)
		if failed != nil {
			t.Fatal(failed)
		}
		switch {
		case err != nil:
			if !bytes.Equal(have, text) || !strings.HasPrefix(err.Error(), path+": line ") {
				t.Errorf("have %q and %q, want the file as it was and its line", err, have)
			}
		case !bytes.HasPrefix(text, have) || len(have) > 0 && have[len(have)-1] != '\n':
			t.Errorf("have %q of %q, want whole lines of it", have, text)
		}
	})
}
