// Package testenv is for tests only. It finds the large traces, images and weights that are kept beside the checkout
// (the small traces are in the repository: internal/golden), and makes disks full.
package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// Shared returns the absolute path of name in the shared folder: the one named by MVAG_SHARED, else the first "shared"
// beside a parent of the working folder. Where it is missing the test is skipped, or fails if CI is set.
func Shared(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv("MVAG_SHARED"); dir != "" {
		if path := filepath.Join(dir, name); exists(path) {
			return path
		}
	} else if path := search(name); path != "" {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("shared/%s: missing, and CI is set", name)
	}
	t.Skipf("shared/%s: missing; set MVAG_SHARED to the folder that holds it", name)
	return ""
}

func search(name string) string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for ; ; dir = filepath.Dir(dir) {
		if path := filepath.Join(dir, "shared", name); exists(path) {
			return path
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Python returns the interpreter that MVAG_PYTHON names, which has the packages of third_party/*_requirements.txt. Where
// it is not set the test is skipped.
func Python(t testing.TB) string {
	t.Helper()
	if python := os.Getenv("MVAG_PYTHON"); python != "" {
		return python
	}
	t.Skip("MVAG_PYTHON is not set; it names a Python with third_party/*_requirements.txt")
	return ""
}
