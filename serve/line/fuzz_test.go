package line

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzSession holds that the file of a session is refused, or that each of its objects has the images of the cameras that
// there are, in the folder of the session.
func FuzzSession(f *testing.F) {
	f.Add([]byte(`{"session":{"id":"a","model":"parts","objects":[{"object":"../x"}]},"parts":[{"files":[{"camera":1,"name":"../y"}],"number":-3}]}`))
	f.Add([]byte(`{"session":{"model":"parts","objects":[{}]},"parts":[{"files":[{"camera":-1}]}]}`))
	f.Add([]byte(`{"session":{"model":"parts","objects":[{}]},"parts":[{"files":[{"camera":5}]}]}`))
	f.Add([]byte(`{"session":{"model":"parts","objects":[null]},"parts":[null],"base":["","",""]}`))
	folder := f.TempDir()
	const views = 3
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(folder, sessionFile), text, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := readSession(folder, func(model string) (int, bool) { return views, model == "parts" })
		if err != nil {
			return
		}
		for i := range s.Session.Objects {
			for _, v := range s.object(i, views).Views {
				if v.Present() && filepath.Dir(v.Path) != folder || strings.Contains(filepath.Base(v.Path), "..") {
					t.Errorf("object %d: have %q, want a file of %q", i, v.Path, folder)
				}
			}
		}
	})
}
