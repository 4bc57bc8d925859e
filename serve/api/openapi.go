package api

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

//go:embed openapi.yaml
var description []byte

// document is openapi.yaml as JSON.
func document() ([]byte, error) {
	var value any
	if err := yaml.Unmarshal(description, &value); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return json.Marshal(value)
}

// undescribed are the routes that are no part of the interface: the page.
var undescribed = map[string]bool{"GET /{$}": true, "GET /static/": true}
