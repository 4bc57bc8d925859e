package serve

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/xrash/smetrics"

	"mvag-torch/serve/publish"
)

var (
	unknownKey = regexp.MustCompile(`^line (\d+): field (.+) not found in type (\S+)$`)
	wrongKind  = regexp.MustCompile("^line (\\d+): cannot unmarshal (!!\\w+)(?s:.*) into ([^`]+)$")
)

// plain says in the words of the file what package yaml says in those of Go. It leaves out values: they may be secret.
func plain(fault string) string {
	if m := unknownKey.FindStringSubmatch(fault); m != nil {
		text := fmt.Sprintf("line %s: %s: have an unknown key", m[1], m[2])
		near, least := "", 2+len(m[2])/3
		for _, key := range keysOf(reflect.TypeFor[Config](), m[3]) {
			if d := smetrics.WagnerFischer(m[2], key, 1, 1, 1); d < least { // Levenshtein's distance
				near, least = key, d
			}
		}
		if near != "" {
			text += fmt.Sprintf(", did you mean %q?", near)
		}
		return text
	}
	if m := wrongKind.FindStringSubmatch(fault); m != nil {
		have, ok := map[string]string{"!!str": "a text", "!!int": "a number", "!!float": "a number with a fraction", "!!bool": "true or false",
			"!!seq": "a list", "!!map": "a mapping of keys", "!!null": "nothing"}[m[2]]
		if !ok {
			have = "another kind of value"
		}
		return fmt.Sprintf("line %s: have %s, want %s", m[1], have, wanted(m[3]))
	}
	return fault
}

// wanted describes a type of the configuration.
func wanted(goType string) string {
	switch {
	case goType == reflect.TypeFor[time.Duration]().String():
		return "a time, as 500ms, 5s or 2m"
	case goType == reflect.TypeFor[publish.Secret]().String():
		return "{file: PATH} or {env: NAME}: a secret does not stand in the file"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.HasPrefix(goType, "int"):
		return "a whole number"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "a text"
	}
	return "a mapping of keys"
}

// keysOf are the keys of the type of that name, which is t or one below it. Keys of another level are no help.
func keysOf(t reflect.Type, name string) (keys []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	if t.String() == name {
		return ownKeys(t)
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("yaml") != "-" {
			keys = append(keys, keysOf(f.Type, name)...)
		}
	}
	return keys
}

// ownKeys are the keys of a type, without those below.
func ownKeys(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch tag := f.Tag.Get("yaml"); tag {
		case "", "-":
		case ",inline":
			keys = append(keys, ownKeys(f.Type)...)
		default:
			keys = append(keys, tag)
		}
	}
	return keys
}
