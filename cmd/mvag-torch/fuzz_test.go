package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mvag-torch/model/checkpoint"
)

// FuzzLicence holds that a licence that is given is refused in a line, or is in the bundle as it is, and that what a bundle
// says of its licences is a line each, of which a terminal obeys nothing.
func FuzzLicence(f *testing.F) {
	f.Add([]byte("Apache License\n"), "Apache-2.0")
	f.Add([]byte("a\x00b"), "x\nsha256 00")
	f.Add([]byte("\xff"), "\x1b]0;title\a")
	f.Add([]byte(""), "\u009b31m")
	path := filepath.Join(f.TempDir(), "LICENCE")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		list, err := readLicences([]string{path})
		switch {
		case err != nil && (!strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "\n")):
			t.Errorf("have %q", err)
		case err == nil && list[0].Text != string(text):
			t.Errorf("have %q, want %q", list[0].Text, text)
		}
		var out bytes.Buffer
		d := &modelInfo{Bundle: &bundleInfo{Bundle: &checkpoint.Bundle{Licences: []checkpoint.Licence{{Name: name, From: name}}}}}
		if err := writeInfo(&out, licenceLines{d}); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(out.String(), "\n"); lines != 5 || strings.ContainsAny(out.String(), "\x00\x07\x1b\r\u009b") {
			t.Errorf("have %d lines: %q", lines, out.String())
		}
	})
}

// licenceLines are the lines on a bundle.
type licenceLines struct{ *modelInfo }

func (l licenceLines) lines(line func(key, format string, values ...any)) { l.bundleLines(line) }

// TestLicenceOfAPipe: for a pipe in place of a licence nobody waits.
func TestLicenceOfAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readLicences([]string{pipe}); err == nil || !strings.Contains(err.Error(), pipe) {
		t.Errorf("have %v", err)
	}
}
