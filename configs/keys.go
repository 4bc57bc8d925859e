package configs

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

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

// keys returns the YAML paths of everything in t, sections before what they
// hold, in the order of the schema.
func keys(t reflect.Type, path string) []string {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var all []string
	for i := range t.NumField() {
		f := t.Field(i)
		child := join(path, keyOf(f))
		all = append(append(all, child), keys(f.Type, child)...)
	}
	return all
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
	faults := len(d.faults)
	n := d.parse([]byte(text), path)
	if len(d.faults) > faults {
		return
	}
	if n == nil || isNull(n) {
		d.fault(n, path, "have nothing, want a value")
		return
	}
	d.where[path] = "--set"
	d.value(n, path, out)
}

// unknown reports a key of a section that is not in the schema, with the
// nearest that is.
func (d *decoder) unknown(n *yaml.Node, section, key string) {
	path := join(section, key)
	if near := nearest(path); near != "" {
		d.fault(n, join(section, label(key)), "have an unknown key, did you mean %q?", near)
		return
	}
	known := siblings(reflect.TypeFor[Config](), path)
	d.fault(n, join(section, label(key)), "have an unknown key, want one of %s", strings.Join(known, ", "))
}

// plain is a key that can stand in a message as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,60}$`)

// label returns a key as it can stand in a message of one line.
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

// nearest returns the known path most like the given one, or "" where none is
// much like it. A known last key in the wrong section counts as one typing
// error: lr and model.lr are near train.lr.
func nearest(path string) string {
	last := func(p string) string { return p[strings.LastIndexByte(p, '.')+1:] }
	own := last(path)
	best, least := "", 2+len(own)/3
	for _, key := range keys(reflect.TypeFor[Config](), "") {
		dist := min(distance(path, key), 1+distance(own, last(key)))
		if dist < least {
			best, least = key, dist
		}
	}
	return best
}

// distance returns the least number of letters to insert, delete or replace
// that makes b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
