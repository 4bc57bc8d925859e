package train

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/model/checkpoint"
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

// FuzzJournal holds that of a journal of any text only whole lines are kept: the first ones, or others where it says which
// are lost and keeps the text beside.
func FuzzJournal(f *testing.F) {
	f.Add([]byte("{\"iteration\":0}\n{\"iteration\":1}\n{\"iter"), 1)
	f.Add([]byte("{\"iteration\":-1}\nnull\n\n"), 2)
	f.Add([]byte("{\"iteration\":0,\"start\":{\"device\":\"a\\n\\u001b[31m\",\"threads\":-1}}\n"), 1)
	path := filepath.Join(f.TempDir(), "train.jsonl")
	f.Fuzz(func(t *testing.T, text []byte, start int) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		j, err := openJournal(path, start)
		if err == nil {
			err = j.close()
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range (Circumstances{}).Differences(j.earlier) {
			if strings.ContainsAny(line, "\n\x1b\x00") || len(line) > 1000 {
				t.Errorf("have the difference %q, want a line", line)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		beside, _ := os.ReadFile(checkpoint.Damaged(path))
		switch {
		case j.lost != nil && strings.Contains(j.lost.Error(), ": have no steps from iteration "):
			if !bytes.HasPrefix(text, have) || strings.Contains(j.lost.Error(), "\n") {
				t.Errorf("have %q, %q said, want what %q begins with and a line", have, j.lost, text)
			}
		case j.lost != nil && (!bytes.Equal(beside, text) || strings.Contains(j.lost.Error(), "\n")):
			t.Errorf("have %q beside, %q said, want the text %q and a line", beside, j.lost, text)
		case j.lost == nil && !bytes.HasPrefix(text, have):
			t.Errorf("have %q, want what %q begins with", have, text)
		}
		for line := range bytes.Lines(have) {
			if line[len(line)-1] != '\n' || !bytes.Contains(text, line) {
				t.Errorf("have the line %q, want one of %q", line, text)
			}
		}
	})
}
