package watch

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/dataset"
	"mvag-torch/serve/line"
)

// FuzzNames holds that each file of a watched folder is in one object at most, that no object has others, and that none
// is lost: what is in no object is rejected or waits for its object.
func FuzzNames(f *testing.F) {
	f.Add("S1_C1.png\x00S1_C2.png\x00S1_C1.jpg", "{object}_{camera}", uint8(2))
	f.Add("a/../../b.png\x00\"q\".png\x00-\x00*.png\x00x.csv", "", uint8(1))
	f.Add(`a\b_C1.png`+"\x00a/b_C1.png", "{object}_C{camera}", uint8(5))
	f.Fuzz(func(t *testing.T, names, pattern string, views uint8) {
		views = 1 + views%8
		naming := dataset.Naming{Pattern: pattern}
		model := line.Model{Name: "parts", Views: int(views), Cameras: naming.CameraNames(int(views)), Naming: naming}
		w := &Watcher{root: "/nonexistent/in", log: slog.New(slog.DiscardHandler), said: map[string]string{}}
		var files []*file
		taken := map[*file]string{}
		seen := map[string]bool{}
		for name := range strings.SplitSeq(names, "\x00") {
			if filepath.IsLocal(name) && filepath.Clean(name) == name && !seen[name] { // as the walk has them
				seen[name] = true
				files = append(files, &file{rel: name})
			}
		}
		objects, rejected := w.collect(model, files)
		if w.said["collect"] != "" { // said of the folder as a whole: a pattern that is none
			return
		}
		for _, o := range objects {
			present := 0
			for _, v := range o.object.Views {
				if v.Present() {
					present++
				}
			}
			if present != len(o.files) || strings.HasPrefix(o.object.ID, w.root) {
				t.Errorf("object %q: have %d files for %d views", o.object.ID, len(o.files), present)
			}
			for _, f := range o.files {
				if f == nil {
					t.Fatalf("object %q: have a file that is not in the folder", o.object.ID)
				}
				if taken[f] != "" {
					t.Errorf("%q: is of %q and of %q", f.rel, taken[f], o.object.ID)
				}
				taken[f] = o.object.ID + " "
			}
		}
		for f, err := range rejected {
			if f == nil || err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("rejected %v: have %v, want one line", f, err)
			}
		}
		for _, f := range files {
			if taken[f] == "" && rejected[f] == nil {
				t.Errorf("%q: is in no object and not rejected", f.rel)
			}
		}
	})
}
