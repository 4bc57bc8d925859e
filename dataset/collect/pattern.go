package collect

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Pattern takes the name of a file apart.
type Pattern struct {
	text    string
	names   *regexp.Regexp
	realiad bool // the default: what does not match is an object of its own
}

// realiad names pictures as gear_0001_NG_AK_C3_20261124120000.jpg; the last
// part is the time.
const realiad = "{object}_C{camera}_*"

// fields are what may stand in braces, and what it matches.
var fields = map[string]string{"class": `(?P<class>.+?)`, "object": `(?P<object>.+)`, "camera": `(?P<camera>[0-9]+)`}

// ParsePattern reads a pattern for names of files without their extension:
// {object} and {class} stand for any text, {camera} for a number from 1, * for
// any text that does not matter, all else for itself. "" is Real-IAD's. Pictures
// with the same folder, class and object belong together; without {object},
// those of a folder do.
func ParsePattern(text string) (*Pattern, error) {
	p := &Pattern{text: text}
	if text == "" {
		p.text, p.realiad = realiad, true
	}
	var expr strings.Builder
	expr.WriteString("^")
	seen := map[string]bool{}
	for rest := p.text; rest != ""; {
		at := strings.IndexAny(rest, "{*}")
		if at < 0 {
			at = len(rest)
		}
		expr.WriteString(regexp.QuoteMeta(rest[:at]))
		rest = rest[at:]
		switch {
		case rest == "":
		case rest[0] == '*':
			expr.WriteString(".*")
			rest = rest[1:]
		default:
			name, after, ok := strings.Cut(rest[1:], "}")
			if rest[0] == '}' || !ok || fields[name] == "" {
				return nil, fmt.Errorf("pattern: have %q, want {object}, {camera}, {class} or *", rest)
			}
			if seen[name] {
				return nil, fmt.Errorf("pattern: have {%s} twice, want it once", name)
			}
			seen[name] = true
			expr.WriteString(fields[name])
			rest = after
		}
	}
	if !seen["object"] && !seen["camera"] {
		return nil, fmt.Errorf("pattern: have %q, want {object} or {camera} in it", p.text)
	}
	var err error
	if p.names, err = regexp.Compile("^(?s:" + expr.String()[1:] + ")$"); err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	return p, nil
}

// match reads the name of a picture.
func (p *Pattern) match(path string) (picture, error) {
	pic := picture{path: path}
	base := filepath.Base(path)
	found := p.names.FindStringSubmatch(strings.TrimSuffix(base, filepath.Ext(base)))
	if found == nil {
		if p.realiad {
			return pic, nil
		}
		return pic, fmt.Errorf("name: have %q, want it as --pattern %q", base, p.text)
	}
	field := func(name string) string {
		if i := p.names.SubexpIndex(name); i >= 0 {
			return found[i]
		}
		return ""
	}
	pic.class = field("class")
	pic.object = filepath.ToSlash(filepath.Join(filepath.Dir(path), field("object")))
	if slices.Contains(p.names.SubexpNames(), "camera") {
		var err error
		if pic.camera, err = cameraOf(field("camera")); err != nil {
			return pic, err
		}
	}
	return pic, nil
}

// cameraOf reads a camera, a number from 1, also as C3.
func cameraOf(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "C"))
	if err != nil && errors.Is(err, strconv.ErrRange) {
		n, err = 1<<30, nil // too large for any model, which is then said
	}
	if err != nil || n < 1 {
		return 0, fmt.Errorf("camera: have %q, want a number from 1", text)
	}
	return n, nil
}
