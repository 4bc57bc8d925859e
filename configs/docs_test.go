package configs

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// docs/format/config.md has one row for every key, with its default in YAML and what it decides, and no other row; and
// it names every embedded configuration.
func TestDocs(t *testing.T) {
	const file = "../docs/format/config.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{} // default and what the key decides
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| `([^`]+)` \\| ([a-z, ]+) \\| [^|]+ \\|$").FindAllStringSubmatch(string(page), -1) {
		if rows[m[1]] != nil {
			t.Errorf("%s: %s: have two rows, want one", file, m[1])
		}
		rows[m[1]] = m[2:]
	}
	visit(reflect.ValueOf(Default()), "", func(key string, field reflect.StructField, value reflect.Value) {
		if value.Kind() == reflect.Struct {
			return
		}
		want := []string{text(field, value), strings.ReplaceAll(field.Tag.Get("decides"), ",", ", ")}
		if !reflect.DeepEqual(rows[key], want) {
			t.Errorf("%s: %s: have default and kinds %q, want %q", file, key, rows[key], want)
		}
		delete(rows, key)
	})
	for key := range rows {
		t.Errorf("%s: %s: have a row, want none: there is no such key", file, key)
	}
	for _, name := range Names() {
		if !strings.Contains(string(page), name) {
			t.Errorf("%s: have no word of the embedded configuration %q", file, name)
		}
	}
}
