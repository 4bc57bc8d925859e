package watch

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestGrowing writes an image slowly, as a camera over a network does.
func TestGrowing(t *testing.T) {
	b := newBench(t, 1, "")
	b.cfg.Settle = 150 * time.Millisecond
	b.start()
	f, err := os.Create(filepath.Join(b.dir, "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "a.png", " ", "slow", "ly"} { // created empty
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Millisecond)
		if n := len(b.judged()); n != 0 {
			t.Fatal("judged while it grew")
		}
	}
	_ = f.Close()
	b.expect("a.png")
}

// TestTemporaryNames: what programs write under another name is taken when it has its own.
func TestTemporaryNames(t *testing.T) {
	b := newBench(t, 1, "")
	b.start()
	temporary := []string{".a.png", "a.png.part", "a.png.tmp", "a.png~", "~a.png"}
	for _, name := range temporary {
		b.write(name, "b.png half")
	}
	b.put("notes.txt", "more.txt")
	b.eventually("counted", func() bool { return b.counted(CountPassedOver) == len(temporary)+2 })
	time.Sleep(100 * time.Millisecond)
	b.expect()
	if err := os.Rename(filepath.Join(b.dir, "a.png.part"), filepath.Join(b.dir, "b.png")); err != nil {
		t.Fatal(err)
	}
	b.expect("b.png")
	if n := strings.Count(b.said(), "passed over"); n != 1 || b.counted(CountPassedOver) != len(temporary)+2 {
		t.Errorf("have it said %d times: %s", n, b.said())
	}
}

// TestFaultyFiles: what cannot be judged is failed, and the others go on.
func TestFaultyFiles(t *testing.T) {
	b := newBench(t, 2, flat)
	b.start()
	b.write("S1_C1.png", "bad")
	b.write("S1_C2.png", "")
	b.write("S2_C1.png", "bad")
	b.put("S2_C2.png", "S3_C1.png", "S3_C2.png")
	b.put("strange.png", "S4_C9.png", "S5 \x01_C1.png", "S5_C1 .png")
	if err := os.Mkdir(filepath.Join(b.dir, "folder.png"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.expectTree(slices.Concat(in("failed", "S1_C1.png", "S1_C2.png", "strange.png", "S4_C9.png", "S5 \x01_C1.png", "S5_C1 .png",
		"S2_C1.png", "S2_C2.png"), in("done", "S3_C1.png", "S3_C2.png"))...)
	b.expect("S1 failed", "S2 failed", "S3")
	if n := b.counted(CountUnassigned); n != 4 {
		t.Errorf("have %d of no object, want 4: %s", n, b.said())
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads all")
	}
	b := newBench(t, 1, "")
	b.put("a.png")
	if err := os.Chmod(filepath.Join(b.dir, "a.png"), 0); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.expect("a.png failed")
	if !strings.Contains(b.said(), "permission denied") {
		t.Errorf("have %s", b.said())
	}
}

// TestTooLarge: an image that is not read for its size is one that cannot be judged, as one without permission.
func TestTooLarge(t *testing.T) {
	b := newBench(t, 1, "")
	path := filepath.Join(b.dir, "a.png")
	if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, maxFile+1)); err != nil { // no bytes on the disk
		t.Fatal(err)
	}
	b.start()
	b.expectTree("failed/DATE/a.png")
	b.expect("a.png failed")
	if !strings.Contains(b.said(), "have 1073741825 bytes, want at most 1073741824") {
		t.Errorf("have %s", b.said())
	}
}

// TestLinks: links are not followed, wherever they lead.
func TestLinks(t *testing.T) {
	b := newBench(t, 1, "")
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret.png"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for to, name := range map[string]string{filepath.Join(outside, "secret.png"): "a.png", outside: "folder", "nowhere": "b.png", ".": "loop"} {
		if err := os.Symlink(to, filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.start()
	b.put("c.png")
	b.expectTree("a.png", "b.png", "folder", "loop", "done/DATE/c.png")
	b.expect("c.png")
	if n := b.counted(CountPassedOver); n != 4 {
		t.Errorf("have %d passed over, want 4", n)
	}
}

func TestSubfolders(t *testing.T) {
	b := newBench(t, 2, "{class}/{object}/{camera}")
	b.start()
	b.put("gear/S1/C1.png", "gear/S1/C2.png", "nut/S1/C1.png", "nut/S1/C2.png", "gear/S2/C1.png")
	b.eventually("three", func() bool { return len(b.judged()) == 3 })
	b.expectTree(in("done", "gear/S1/C1.png", "gear/S1/C2.png", "gear/S2/C1.png", "nut/S1/C1.png", "nut/S1/C2.png")...)
	b.stop()
	var left []string
	for _, name := range []string{"gear/S1", "gear/S2", "nut/S1"} {
		if _, err := os.Stat(filepath.Join(b.dir, name)); err == nil {
			left = append(left, name)
		}
	}
	if !slices.Equal(left, []string{"gear/S2"}) {
		t.Errorf("have the folders %q, want that of the incomplete object alone", left)
	}
	for _, r := range b.records {
		if r.Class != "gear" && r.Class != "nut" {
			t.Errorf("have class %q of %q", r.Class, r.Object)
		}
	}
}
