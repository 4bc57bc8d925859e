package configs

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Marshal returns c as YAML with every key. [Parse] of it returns a valid c exactly: floats are in their shortest form,
// and dollar signs in paths are doubled so that they are not expanded again. A leading ~/, which no path has after
// Parse, would be.
func Marshal(c Config) ([]byte, error) {
	for _, p := range c.paths() {
		*p.value = escapePath(*p.value)
	}
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return buf.Bytes(), nil
}
