package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// decoder decodes YAML nodes into a Config and collects every fault. It walks the nodes itself because yaml.v3's
// decoder turns 1.5 into the integer 1 and names neither the file nor the YAML path of what it refuses.
type decoder struct {
	name   string            // of the file
	faults []Fault           // in the order of the file
	where  map[string]string // "file:line" or "--set" of each key that was set
	sets   bool              // the nodes come from --set
	hint   string            // after an error of syntax
}

// unquoted matches a pattern that YAML takes for a mapping.
var unquoted = regexp.MustCompile(`(?m)^\s*[a-z]+:\s*\{[a-z]+\}\S`)

// at returns the location of n.
func (d *decoder) at(n *yaml.Node) string {
	if d.sets {
		return "--set"
	}
	return fmt.Sprintf("%s:%d", d.name, n.Line)
}

func (d *decoder) fault(n *yaml.Node, path, format string, args ...any) {
	d.faults = append(d.faults, Fault{d.at(n), path, fmt.Sprintf(format, args...)})
}

// document decodes the bytes of a file.
func (d *decoder) document(data []byte, cfg *Config) {
	root := d.parse(data, "")
	if root == nil || isNull(root) {
		return
	}
	d.value(root, "", reflect.ValueOf(cfg).Elem())
}

// parse returns the root of the only document in data, or nil. Having no document is not a fault.
func (d *decoder) parse(data []byte, path string) *yaml.Node {
	if !d.readable(data, path) {
		return nil
	}
	if unquoted.Match(data) {
		d.hint = ` (a value that begins with { wants quotes, as "{object}_{camera}.jpg")`
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if err == nil {
		err = dec.Decode(&second)
		if err == nil {
			d.fault(&second, path, "have a second document, want one")
			return nil
		}
	}
	if !errors.Is(err, io.EOF) {
		d.syntax(err, path)
		return nil
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

var (
	// yamlError splits an error of yaml.v3's parser.
	yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)
	// grammarError matches errors whose line yaml.v3 counts from 0, and which may be the line where the block begins.
	grammarError = regexp.MustCompile(`^did not find expected (key|node content|'-'|',' or|<)`)
)

// syntax adds an error of yaml.v3's parser.
func (d *decoder) syntax(err error, path string) {
	where, line, msg := "", 1, err.Error()
	if m := yamlError.FindStringSubmatch(msg); m != nil {
		msg = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		} else if grammarError.MatchString(msg) {
			line = 0
		}
	}
	text := "have invalid YAML: "
	if grammarError.MatchString(msg) {
		line++
		text = "have invalid YAML here or below: "
	}
	switch {
	case d.sets:
		where, text = "--set", "have invalid YAML: "
	case strings.HasPrefix(msg, "unknown anchor"): // has no line
		where = d.name
	default:
		where = fmt.Sprintf("%s:%d", d.name, line)
	}
	d.faults = append(d.faults, Fault{where, path, text + msg + d.hint})
}

// readable reports whether data is text that YAML allows, and adds the fault if not.
func (d *decoder) readable(data []byte, path string) bool {
	line := 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		control := unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r'
		mark := r == '\uFEFF' && i > 0 || r == '\uFFFE' || r == '\uFFFF'
		if r == utf8.RuneError && size == 1 || control || mark {
			d.fault(&yaml.Node{Line: line}, path, "have %q, want UTF-8 text without control characters", data[i:i+size])
			return false
		}
		if r == '\n' {
			line++
		}
		i += size
	}
	return true
}

// value decodes n into out, which is at path.
func (d *decoder) value(n *yaml.Node, path string, out reflect.Value) {
	switch out.Kind() {
	case reflect.Struct:
		d.mapping(n, path, out)
	case reflect.Slice, reflect.Array:
		if size, ok := out.Addr().Interface().(*Size); ok && n.Kind == yaml.ScalarNode {
			side := reflect.ValueOf(&size[0]).Elem()
			d.value(n, path, side)
			*size = Square(size[0])
			return
		}
		d.list(n, path, out)
	case reflect.String:
		if text, ok := d.scalar(n, path, "text", "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge"); ok {
			out.SetString(text)
		}
	case reflect.Bool:
		if text, ok := d.scalar(n, path, "true or false", "!!bool"); ok {
			out.SetBool(strings.EqualFold(text, "true"))
		}
	case reflect.Int, reflect.Int64:
		if text, ok := d.scalar(n, path, wholeNumber, "!!int"); ok {
			d.integer(n, path, text, out)
		}
	case reflect.Float64:
		if text, ok := d.scalar(n, path, "a number", "!!int", "!!float"); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				d.fault(n, path, "have %s, want a finite number", describe(n))
				return
			}
			out.SetFloat(v)
		}
	}
}

// mapping decodes a section. An empty one ("train:" with every key commented out) keeps the defaults.
func (d *decoder) mapping(n *yaml.Node, path string, out reflect.Value) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "have %s, want a mapping", describe(n))
		return
	}
	first := map[string]int{} // line of each key
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			d.fault(key, path, "have %s as a key, want a name", describe(key))
			continue
		}
		child := join(path, key.Value)
		field, ok := fieldOf(out, key.Value)
		if !ok {
			d.unknown(key, path, key.Value)
			continue
		}
		if line, ok := first[key.Value]; ok {
			d.fault(key, child, "have a second value, want one (the first is on line %d)", line)
			continue
		}
		first[key.Value] = key.Line
		d.where[child] = d.at(key)
		d.value(val, child, field)
	}
}

// list decodes a slice or an array, replacing the default.
func (d *decoder) list(n *yaml.Node, path string, out reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, path, "have %s, want a list such as %s", describe(n), sample(out.Type()))
		return
	}
	if out.Kind() == reflect.Array && len(n.Content) != out.Len() {
		d.fault(n, path, "have a list of %d, want a list of %d", len(n.Content), out.Len())
		return
	}
	if out.Kind() == reflect.Slice {
		out.SetZero() // an empty list is nil, like one that is not set
		if len(n.Content) > 0 {
			out.Set(reflect.MakeSlice(out.Type(), len(n.Content), len(n.Content)))
		}
	}
	for i, item := range n.Content {
		d.value(item, fmt.Sprintf("%s[%d]", path, i), out.Index(i))
	}
}

// sample returns an example of a list of type t in YAML.
func sample(t reflect.Type) string {
	switch t.Elem().Kind() {
	case reflect.Slice:
		return "[[0, 1], [2, 3]]"
	case reflect.Float64:
		return "[0.2, 0.8]"
	case reflect.Int:
		return "[0, 1]"
	}
	return "[a, b]"
}

// scalar returns the text of n if its type is one of tags.
func (d *decoder) scalar(n *yaml.Node, path, want string, tags ...string) (string, bool) {
	if n.Kind == yaml.ScalarNode && slices.Contains(tags, n.ShortTag()) {
		return n.Value, true
	}
	if n.Kind == yaml.MappingNode && want == "text" {
		want = `text, with quotes around what begins with {, as "{object}_{camera}.jpg"`
	}
	d.fault(n, path, "have %s, want %s", describe(n), want)
	return "", false
}

const wholeNumber = "a whole number in decimal digits"

// decimal excludes what YAML 1.1 and 1.2 read differently, such as 010.
var decimal = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)$`)

func (d *decoder) integer(n *yaml.Node, path, text string, out reflect.Value) {
	if !decimal.MatchString(text) {
		d.fault(n, path, "have %s, want %s", describe(n), wholeNumber)
		return
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || out.OverflowInt(v) {
		d.fault(n, path, "have %s, want at most %d bits", describe(n), out.Type().Bits())
		return
	}
	out.SetInt(v)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe returns in one short line what n is.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if isNull(n) {
		return "nothing"
	}
	if n.ShortTag() == "!!str" || !plain.MatchString(n.Value) {
		return quote(n.Value)
	}
	return n.Value
}
