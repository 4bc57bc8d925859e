package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Naming says how file names encode objects and cameras. A checkpoint stores the naming of its training set so that new
// images are grouped in the same way.
type Naming struct {
	// Pattern describes file names (data.pattern, --pattern). {object}, {camera} and {class} stand for text without a
	// slash, * for any text without a slash; the rest is literal. "{object}/{camera}" is a folder for each object.
	// Without an extension, all image formats match. An empty pattern means Real-IAD's names where they match, and
	// otherwise makes each image an object.
	Pattern string `json:"pattern,omitempty"`
	// Cameras are the camera names by index, or nil if cameras are numbered from 1.
	Cameras []string `json:"cameras,omitempty"`
}

// CameraNames are the names of so many cameras, C1 and so on where they are numbered.
func (n Naming) CameraNames(views int) []string {
	names := slices.Clone(n.Cameras)
	for i := len(names); i < views; i++ {
		names = append(names, fmt.Sprint("C", i+1))
	}
	return names
}

// Index returns the 0-based index of a camera, given by name, or by number from 1 (also as C3) if no camera name is a
// number. No name means the first camera.
func (n Naming) Index(camera string) (int, error) {
	if camera == "" {
		return 0, nil
	}
	camera = canonical(camera)
	if i := slices.IndexFunc(n.Cameras, func(name string) bool { return canonical(name) == camera }); i >= 0 {
		return i, nil
	}
	named := slices.ContainsFunc(n.Cameras, func(name string) bool { _, ok := cameraNumber(name); return ok })
	if number, ok := cameraNumber(camera); ok && !named {
		return number - 1, nil
	}
	if len(n.Cameras) > 0 {
		return 0, fmt.Errorf("camera: have %q, want one of %q", camera, n.Cameras)
	}
	return 0, fmt.Errorf("camera: have %q, want a number from 1", camera)
}

// cameraNumber parses a camera number from 1, also as C3. A number too large for any model becomes 1<<30, which is
// refused later.
func cameraNumber(name string) (int, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, "C"), 10, 30)
	if errors.Is(err, strconv.ErrRange) {
		return 1 << 30, true
	}
	return int(n), err == nil && n > 0
}

// nameCameras returns the camera names of a set by index, or nil if all are numbers from 1 to views. Names are sorted,
// 2 before 10; there must be exactly views of them.
func nameCameras(listings []listing, views int) ([]string, error) {
	numbers, seen := true, map[string]bool{}
	var names []string
	for _, l := range listings {
		for _, s := range l.shots {
			name := canonical(s.camera)
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
				n, ok := cameraNumber(name)
				numbers = numbers && (ok && n <= views || name == "" && views == 1)
			}
		}
	}
	if numbers {
		return nil, nil
	}
	slices.SortFunc(names, natural)
	if len(names) != views {
		return nil, fmt.Errorf("data.views: have %d, want %d as the set has cameras: %q", views, len(names), names[:min(len(names), 8)])
	}
	return names, nil
}

// natural compares names: numbers by value, and before words.
func natural(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	switch {
	case errX == nil && errY == nil:
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a, b))
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

// pattern is a compiled Naming.Pattern.
type pattern struct {
	text  string
	match *regexp.Regexp // matches a path without extension; nil if each image is an object
	ext   string         // of matching images; "" means any
	depth int            // number of slashes
}

// fields are the placeholders of a pattern. The object matches as much as possible, class and camera as little. A
// camera prefers a run of digits, so that C{camera}* does not cut a number short.
var fields = map[string]string{"class": `(?P<class>[^/]+?)`, "object": `(?P<object>[^/]+)`, "camera": `(?P<camera>[0-9]+|[^/]+?)`}

// newPattern compiles a pattern. The empty pattern makes each image an object.
func newPattern(text string) (pattern, error) {
	p := pattern{text: text, depth: strings.Count(text, "/")}
	if text == "" {
		return p, nil
	}
	if !utf8.ValidString(text) {
		return p, fmt.Errorf("have %q, want UTF-8", text)
	}
	if isImage(text) {
		p.ext = path.Ext(text)
	}
	var expr strings.Builder
	seen := map[string]bool{}
	for rest := strings.TrimSuffix(text, p.ext); rest != ""; {
		at := strings.IndexAny(rest+"*", "{*}")
		expr.WriteString(regexp.QuoteMeta(rest[:at]))
		if rest = rest[at:]; rest == "" {
			break
		}
		if rest[0] == '*' {
			expr.WriteString(`[^/]*`)
			rest = rest[1:]
			continue
		}
		name, after, closed := strings.Cut(rest[1:], "}")
		switch {
		case rest[0] == '}' || !closed || fields[name] == "":
			return p, fmt.Errorf("have %q in %q, want {object}, {camera}, {class} or *", rest, text)
		case seen[name]:
			return p, fmt.Errorf("have {%s} twice in %q, want it once", name, text)
		}
		seen[name] = true
		expr.WriteString(fields[name])
		rest = after
	}
	if !seen["object"] && !seen["camera"] {
		return p, fmt.Errorf("have %q, want {object} or {camera} in it, as {object}_{camera}.jpg", text)
	}
	var err error
	p.match, err = regexp.Compile(`(?s)^` + expr.String() + `$`)
	return p, err
}

// has reports whether the pattern has a field.
func (p pattern) has(field string) bool { return p.match != nil && p.match.SubexpIndex(field) >= 0 }

// takes reports whether an image has the extension of the pattern.
func (p pattern) takes(name string) bool {
	return p.ext == "" || strings.EqualFold(path.Ext(name), p.ext)
}

// parts are the fields of a name, "" if the pattern does not have them.
type parts struct{ class, object, camera string }

// split extracts the fields of a path, which has as many folders as the pattern.
func (p pattern) split(name string) (parts, error) {
	stem := trimExt(name)
	if p.match == nil {
		return parts{object: stem}, nil
	}
	groups := p.match.FindStringSubmatch(stem)
	if groups == nil || !p.takes(name) {
		return parts{}, fmt.Errorf("have an image %q, want names as %q", name, p.text)
	}
	field := func(name string) string {
		if i := p.match.SubexpIndex(name); i >= 0 {
			return groups[i]
		}
		return ""
	}
	return parts{field("class"), field("object"), field("camera")}, nil
}

// splitRealIAD splits a name of Real-IAD such as gear_0001_NG_AK_C3_20261124120000.jpg. The camera is the last field
// C<number>, the object what precedes it. Some names have no time; others contain empty fields.
func splitRealIAD(name string) (object, camera string, ok bool) {
	fields := strings.Split(trimExt(path.Base(name)), "_")
	for i := len(fields) - 1; i > 0; i-- {
		if digits, ok := strings.CutPrefix(fields[i], "C"); ok {
			if _, err := strconv.ParseUint(digits, 10, 31); err == nil {
				return strings.Join(fields[:i], "_"), digits, true
			}
		}
	}
	return "", "", false
}

// Check returns an error if the pattern of n cannot be used.
func (n Naming) Check() error {
	if _, err := newPattern(n.Pattern); err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	return nil
}
