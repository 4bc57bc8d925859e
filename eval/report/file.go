package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Write writes results.json to path. Whenever it is interrupted, path holds the
// whole of the old or of the new results.
func Write(path string, r Results) error {
	data, err := encode(r)
	if err == nil {
		err = Replace(path, data)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Replace writes a file that appears whole or not at all: it writes a new one
// beside path, brings it to the disk and renames it.
func Replace(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	// CreateTemp makes it private; results are not.
	if err = cmp.Or(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Read reads what Write wrote. Errors name the file.
func Read(path string) (Results, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Results{}, err // names the file
	}
	var r Results
	if err := json.Unmarshal(data, &r); err != nil {
		return Results{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// encode returns the indented file.
func encode(r Results) ([]byte, error) {
	data, err := r.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
