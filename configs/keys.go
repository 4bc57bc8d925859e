package configs

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/xrash/smetrics"
	"gopkg.in/yaml.v3"
)

// join appends a key to a YAML path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// keyOf returns the YAML key of a field.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key
}

// fieldOf returns the field of a section by its YAML key.
func fieldOf(section reflect.Value, key string) (reflect.Value, bool) {
	for i := range section.NumField() {
		if keyOf(section.Type().Field(i)) == key {
			return section.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// visit calls f for each key of a section and of the sections in it, in order of the schema, a section before its keys.
func visit(section reflect.Value, path string, f func(key string, field reflect.StructField, value reflect.Value)) {
	for i := range section.NumField() {
		field, value := section.Type().Field(i), section.Field(i)
		key := join(path, keyOf(field))
		f(key, field, value)
		if value.Kind() == reflect.Struct {
			visit(value, key, f)
		}
	}
}

// set applies one assignment, "train.iterations=200".
func (d *decoder) set(assignment string, cfg *Config) {
	d.sets = true
	path, text, ok := strings.Cut(assignment, "=")
	path = strings.TrimSpace(path)
	if !ok || path == "" {
		d.fault(nil, "", "have %s, want key=value such as train.iterations=200", quote(assignment))
		return
	}
	out := reflect.ValueOf(cfg).Elem()
	for key := range strings.SplitSeq(path, ".") {
		if ok = out.Kind() == reflect.Struct; ok {
			out, ok = fieldOf(out, key)
		}
		if !ok {
			d.unknown(nil, "", path)
			return
		}
	}
	if out.Kind() == reflect.String && text != "" && strings.ContainsAny(text[:1], "{[*") && d.readable([]byte(text), path) {
		d.where[path] = "--set"
		out.SetString(text) // as data.pattern={object}_{camera}.jpg: no text in YAML begins so without quotes
		return
	}
	faults := len(d.faults)
	var n *yaml.Node
	if text := strings.TrimSpace(text); out.Kind() == reflect.String && strings.HasPrefix(text, "{") { // a pattern, not a mapping
		if d.readable([]byte(text), path) {
			n = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
		}
	} else {
		n = d.parse([]byte(text), path)
	}
	if len(d.faults) > faults {
		return
	}
	if n == nil || isNull(n) {
		d.fault(n, path, "have nothing, want a value, or '' for an empty text")
		return
	}
	d.where[path] = "--set"
	d.value(n, path, out)
}

// unknown adds the fault of a key that is not in the schema, with the most similar one that is.
func (d *decoder) unknown(n *yaml.Node, section, key string) {
	path := join(section, key)
	if near := nearest(path); near != "" {
		d.fault(n, join(section, label(key)), "have an unknown key, did you mean %q?", near)
		return
	}
	known := siblings(reflect.TypeFor[Config](), path)
	d.fault(n, join(section, label(key)), "have an unknown key, want one of %s", strings.Join(known, ", "))
}

// plain matches a key that needs no quotes in a message.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,60}$`)

// label returns a key for a message of one line.
func label(key string) string {
	if plain.MatchString(key) {
		return key
	}
	return quote(key)
}

// quote quotes text, shortened.
func quote(text string) string {
	const most = 40
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return strconv.Quote(text)
}

// siblings returns the keys of the deepest section that path enters.
func siblings(t reflect.Type, path string) []string {
	key, rest, _ := strings.Cut(path, ".")
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		if keyOf(f) == key && f.Type.Kind() == reflect.Struct && rest != "" {
			return siblings(f.Type, rest)
		}
		all = append(all, keyOf(f))
	}
	return all
}

// nearest returns the known key most similar to path, or "" if none is similar. A known last part in the wrong section
// counts as one typing error: lr and model.lr are near train.lr.
func nearest(path string) string {
	last := func(p string) string { return p[strings.LastIndexByte(p, '.')+1:] }
	distance := func(a, b string) int { return smetrics.WagnerFischer(a, b, 1, 1, 1) } // Levenshtein's
	own := last(path)
	best, least := "", 2+len(own)/3
	visit(reflect.ValueOf(Config{}), "", func(key string, _ reflect.StructField, _ reflect.Value) {
		if dist := min(distance(path, key), 1+distance(own, last(key))); dist < least {
			best, least = key, dist
		}
	})
	return best
}
