package configs

import (
	"slices"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	// Where is "file:line", the file alone for a value that is a default, "--set", or empty for a Config that was not
	// read from a file.
	Where string
	// Path is the YAML path of the value, "train.warmup"; empty for a fault that is not of one value, such as a syntax
	// error.
	Path string
	// Msg is one line: "have X, want Y".
	Msg string
}

// String returns the fault in one line: "where: path: have X, want Y".
func (f Fault) String() string {
	line := f.Msg
	if f.Path != "" {
		line = f.Path + ": " + line
	}
	if f.Where != "" {
		line = f.Where + ": " + line
	}
	return line
}

// involves reports whether f is about a value that others are about, or compares with one.
func (f Fault) involves(others []Fault) bool {
	return slices.ContainsFunc(others, func(o Fault) bool {
		return o.Path == "" || strings.HasPrefix(f.Path, o.Path) || strings.HasPrefix(o.Path, f.Path) || strings.Contains(f.Msg, o.Path)
	})
}

// Error is everything wrong with a configuration, at least one fault. Its text has a line for each fault.
type Error struct {
	Faults []Fault
}

// Error returns the faults, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}
