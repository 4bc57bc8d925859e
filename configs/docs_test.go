package configs

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// docs/format/config.md has one row for every key, with its default as Marshal
// writes it, and no other row; and it names every embedded configuration.
func TestDocs(t *testing.T) {
	const file = "../docs/format/config.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| `([^`]+)` \\| [^|]+ \\|$").FindAllStringSubmatch(string(page), -1) {
		if _, ok := rows[m[1]]; ok {
			t.Errorf("%s: %s: have two rows, want one", file, m[1])
		}
		rows[m[1]] = m[2]
	}
	for _, key := range leaves(reflect.TypeFor[Config](), "") {
		if want := defaultText(t, key); rows[key] != want {
			t.Errorf("%s: %s: have default %q, want %q", file, key, rows[key], want)
		}
		delete(rows, key)
	}
	for key := range rows {
		t.Errorf("%s: %s: have a row, want none: there is no such key", file, key)
	}
	for _, name := range Names() {
		if !strings.Contains(string(page), name) {
			t.Errorf("%s: have no word of the embedded configuration %q", file, name)
		}
	}
}

// defaultText returns the value of a key as Marshal writes it.
func defaultText(t *testing.T, key string) string {
	t.Helper()
	text, err := Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	rest := "\n" + string(text)
	indent := "\n"
	for part := range strings.SplitSeq(key, ".") {
		_, after, ok := strings.Cut(rest, indent+part+":")
		if !ok {
			t.Fatalf("%s: not in\n%s", key, text)
		}
		rest, indent = after, indent+"  "
	}
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}
