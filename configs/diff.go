package configs

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Diff lists the settings in which have and want differ, by their YAML path:
// "train.warmup: have 100, want 40". Settings at or below the paths in except
// do not count.
func Diff(have, want Config, except ...string) []string {
	h, w := flat(have), flat(want)
	var diff []string
	for i, setting := range w {
		excepted := slices.ContainsFunc(except, func(path string) bool {
			return setting.path == path || strings.HasPrefix(setting.path, path+".")
		})
		if !excepted && h[i].value != setting.value {
			diff = append(diff, fmt.Sprintf("%s: have %s, want %s", setting.path, h[i].value, setting.value))
		}
	}
	return diff
}

// setting is a leaf of a configuration.
type setting struct{ path, value string }

// flat lists the leaves of c in order of the schema.
func flat(c Config) []setting {
	var root yaml.Node
	if err := root.Encode(c); err != nil { // a struct of plain values always encodes
		return nil
	}
	var leaves []setting
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i := 0; i < len(n.Content); i += 2 {
			path, value := prefix+n.Content[i].Value, n.Content[i+1]
			if value.Kind == yaml.MappingNode {
				walk(path+".", value)
				continue
			}
			text, _ := yaml.Marshal(value)
			leaves = append(leaves, setting{path, strings.TrimSpace(string(text))})
		}
	}
	walk("", &root)
	return leaves
}
