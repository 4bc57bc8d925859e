package line

import (
	"errors"
	"image/png"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/testenv"
	"mvag-torch/serve/journal"
)

// TestPictures draws what was kept of an object, and compares it with what the inspector draws.
func TestPictures(t *testing.T) {
	l := open(t, nil, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	j := judge(t, l, Request{Object: inspecttest.Objects(t, inspecttest.Trained, 12)[0]})
	kept, err := l.Kept(j.Record)
	if err != nil || len(kept) != inspecttest.Views {
		t.Fatalf("have %d pictures, %v", len(kept), err)
	}
	for i, p := range kept {
		above := 0
		for y := range p.Map.Rect.Dy() {
			for x := range p.Map.Rect.Dx() {
				at := p.Map.GrayAt(p.Map.Rect.Min.X+x, p.Map.Rect.Min.Y+y).Y
				if at >= 128 {
					above++
				}
			}
		}
		area := 0.
		for _, r := range *j.Images[i].Regions {
			area += r.Area
		}
		if p.Camera != i+1 || (above > 0) != (area > 0) {
			t.Errorf("camera %d: have %d pixels above, want regions of %v", p.Camera, above, area)
		}
		for _, layer := range []string{Seen, Heat, Overlay} {
			drawn, err := p.Draw(layer)
			if err != nil || drawn.Bounds().Dx() != 42 || drawn.Bounds().Dy() != 42 {
				t.Fatalf("%s: have %v, %v", layer, drawn.Bounds(), err)
			}
		}
	}
	if _, err := kept[0].Draw("../x"); err == nil {
		t.Error("want no such layer")
	}
	sheet, err := Sheet(Pictures(j.Result))
	if err != nil || sheet.Rect.Dx() != 3*42 {
		t.Fatalf("have a sheet %v, %v", sheet.Rect, err)
	}
	if err := png.Encode(io.Discard, sheet); err != nil {
		t.Error(err)
	}
	if n, err := l.Prune(Keep{Objects: 1}); n != 0 || err != nil {
		t.Errorf("have %d removed, %v, want what there may be", n, err)
	}
	judge(t, l, Request{Object: inspecttest.Objects(t, inspecttest.Trained, 12)[1]})
	pending, err := l.Journal().Pending("lines", 10)
	if err != nil || l.Journal().Published("lines", pending[0].Seq, pending[1].Seq) != nil {
		t.Fatal(err)
	}
	if n, err := l.Prune(Keep{Objects: 1}); n != 1 || err != nil {
		t.Errorf("have %d removed, %v, want 1", n, err)
	}
	if _, err := l.Kept(j.Record); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("have %v, want no pictures of a record that is gone", err)
	}
	if n, err := l.Prune(Keep{Days: 1}); n != 0 || err != nil {
		t.Errorf("have %d removed, %v, want those of today to stay", n, err)
	}
}

// TestFullDisk judges with the journal and the pictures on a disk that is full: the object is refused and leaves nothing, the
// line is not ready, and goes on when there is room.
func TestFullDisk(t *testing.T) {
	disk, objects := testenv.SmallDisk(t, 8<<20), inspecttest.Objects(t, inspecttest.Trained, 3)
	j, err := journal.Open(filepath.Join(disk, "journal.db"), journal.Options{To: []string{"lines"}, Spool: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	l := open(t, func(o *Options) { o.Folder, o.Journal = disk, j }, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	judge(t, l, Request{Object: objects[0]})
	pictures := func() (n int) {
		files, err := filepath.Glob(filepath.Join(disk, "objects", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	filler := filepath.Join(disk, "filler")
	for _, room := range []int64{0, 4096} {
		testenv.Fill(t, filler, room)
		var store *StoreError
		_, err := l.Judge(t.Context(), Request{Object: objects[1]})
		if !errors.As(err, &store) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), disk) || strings.Contains(err.Error(), "\n") {
			t.Errorf("room for %d bytes: have %v, want it refused for a full disk", room, err)
		}
		if err := l.Ready(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("room for %d bytes: have %v, want it not ready", room, err)
		}
		if n := pictures(); n != 2 {
			t.Errorf("room for %d bytes: have %d files of pictures, want those of the first object", room, n)
		}
		if err := errors.Join(os.Remove(filler), l.Ready()); err != nil {
			t.Errorf("room again: have %v, want it ready", err)
		}
	}
	again := judge(t, l, Request{Object: objects[1]})
	if kept, err := l.Kept(again.Record); err != nil || len(kept) != inspecttest.Views || pictures() != 4 || again.ID == "" {
		t.Errorf("have %d pictures in %d files, error %v", len(kept), pictures(), err)
	}
}

// TestTidy opens a folder in which a service was killed: pictures without a record are removed, all else stays.
func TestTidy(t *testing.T) {
	var log strings.Builder
	l := open(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) }, ModelOptions{Name: "parts", Path: inspecttest.Checkpoint(t)})
	j := judge(t, l, Request{Object: inspecttest.Objects(t, inspecttest.Trained, 12)[0]})
	seen, maps, err := l.pictureFiles(j.ID)
	if err != nil {
		t.Fatal(err)
	}
	folder, name := filepath.Dir(seen), l.Journal().Name()
	later := filepath.Join(filepath.Dir(folder), "000007")
	if err := os.Mkdir(later, 0o755); err != nil {
		t.Fatal(err)
	}
	left := []string{filepath.Join(folder, name+"-2_seen.jpg"), filepath.Join(folder, name+"-3_map.png"),
		filepath.Join(later, name+"-7001_seen.jpg"), filepath.Join(filepath.Dir(folder), "probe")}
	stays := []string{seen, maps, filepath.Join(folder, name+"-02_seen.jpg"), filepath.Join(folder, "00000000-2_seen.jpg"),
		filepath.Join(folder, name+"-2_seen.txt"), filepath.Join(filepath.Dir(folder), "note")}
	for _, path := range append(slices.Clone(left), stays[2:]...) {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l.tidy()
	for _, path := range left {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: have %v, want no file", path, err)
		}
	}
	for _, path := range stays {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(later); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("have %v, want no empty folder", err)
	}
	if !strings.Contains(log.String(), "files=3") || strings.Contains(log.String(), "WARN") {
		t.Errorf("have %s", log.String())
	}
}
