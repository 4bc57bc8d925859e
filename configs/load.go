package configs

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxBytes is the largest size of a configuration, which is a page of text.
const maxBytes = 1 << 16

//go:embed *.yaml
var embedded embed.FS

// Names returns the names of the embedded configurations, sorted, without ".yaml".
func Names() []string {
	entries, err := embedded.ReadDir(".")
	if err != nil {
		return nil // the root of an embedded file system is always readable
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// Load reads a configuration file, or, if there is no such file, the embedded configuration of that name ("realiad" or
// "realiad.yaml"), and passes it to [Parse].
func Load(nameOrPath string, sets ...string) (Config, error) {
	data, err := read(nameOrPath)
	if err != nil {
		return Config{}, err
	}
	return Parse(nameOrPath, data, sets...)
}

// Parse decodes one YAML document over the defaults. Then it applies sets in order, each of the form
// "train.iterations=200" with a YAML value; replaces $NAME, ${NAME} and a leading ~/ in paths; and validates. An empty
// document means the defaults.
//
// Decoding is strict: unknown and duplicate keys, a second document, fractions for integers, and aliases are refused.
// Relative paths are kept as they are; they are relative to the working folder, not to the file.
//
// All faults are reported at once, as an [*Error] with name in each line.
func Parse(name string, data []byte, sets ...string) (Config, error) {
	if len(data) > maxBytes {
		return Config{}, fmt.Errorf("%s: have more than %d bytes, want a configuration", name, maxBytes)
	}
	cfg := Default()
	d := decoder{name: name, where: map[string]string{}}
	d.document(data, &cfg)
	for _, s := range sets {
		d.set(s, &cfg)
	}
	undecoded := d.faults
	for _, f := range append(cfg.expand(), cfg.faults()...) {
		key, _, _ := strings.Cut(f.Path, "[")
		if len(undecoded) > 0 && (d.where[key] == "" || f.involves(undecoded)) {
			continue // perhaps only because a default stands for what could not be decoded
		}
		f.Where = cmp.Or(d.where[key], name)
		d.faults = append(d.faults, f)
	}
	if len(d.faults) > 0 {
		return Config{}, &Error{d.faults}
	}
	return cfg, nil
}

// read returns the bytes of a file or of an embedded configuration.
func read(nameOrPath string) ([]byte, error) {
	f, err := os.Open(nameOrPath)
	if err == nil {
		defer f.Close()
		if info, err := f.Stat(); err == nil && !info.IsDir() {
			data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", nameOrPath, err)
			}
			return data, nil
		}
	}
	if nameOrPath == filepath.Base(nameOrPath) {
		if data, err := embedded.ReadFile(strings.TrimSuffix(nameOrPath, ".yaml") + ".yaml"); err == nil {
			return data, nil
		}
	}
	known := strings.Join(Names(), ", ")
	switch {
	case err == nil:
		return nil, fmt.Errorf("%s: have a folder, want a YAML file or an embedded configuration (%s)", nameOrPath, known)
	case nameOrPath == "" || errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("config: have %q, want a YAML file or an embedded configuration (%s): %w",
			nameOrPath, known, fs.ErrNotExist)
	}
	return nil, err // an *fs.PathError, which names the file
}
