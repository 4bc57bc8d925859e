package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// field is a value of a Config by its YAML path.
type field[T any] struct {
	path  string
	value T
}

// paths returns the settings that are paths of files and folders outside the data set.
func (c *Config) paths() []field[*string] {
	return []field[*string]{
		{"output", &c.Output},
		{"backbone.weights", &c.Backbone.Weights},
		{"data.root", &c.Data.Root},
		{"data.cache", &c.Data.Cache},
	}
}

// expand replaces variables and ~/ in the paths.
func (c *Config) expand() []Fault {
	var faults []Fault
	for _, p := range c.paths() {
		text, err := expandPath(*p.value)
		if err != nil {
			faults = append(faults, Fault{Path: p.path, Msg: err.Error()})
			continue
		}
		*p.value = text
	}
	return faults
}

// variable matches $$, $NAME, ${NAME}, or a lone dollar sign.
var variable = regexp.MustCompile(`\$(?:\$|[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})?`)

// expandPath replaces $NAME and ${NAME} by environment variables and $$ by a dollar sign, then a leading ~/ by the home
// folder.
func expandPath(path string) (string, error) {
	var err error // the first
	expanded := variable.ReplaceAllStringFunc(path, func(match string) string {
		if match == "$$" {
			return "$"
		}
		name := strings.Trim(match, "${}")
		value, ok := os.LookupEnv(name)
		switch {
		case err != nil:
		case name == "":
			err = fmt.Errorf("have %q, want $NAME, ${NAME} or, for a dollar sign, $$", path)
		case !ok:
			err = fmt.Errorf("have %q, want the variable %s in the environment", path, name)
		}
		return value
	})
	if err != nil || expanded != "~" && !strings.HasPrefix(expanded, "~/") {
		return expanded, err
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", fmt.Errorf("have %q, want the home folder in the variable HOME", path)
	}
	return home + expanded[1:], nil
}

// escapePath is the inverse of expandPath.
func escapePath(path string) string { return strings.ReplaceAll(path, "$", "$$") }
