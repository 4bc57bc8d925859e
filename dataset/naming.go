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
)

// Naming is how names say which object and which camera an image belongs to. A checkpoint remembers that of its
// training set, so that new images are grouped as those of the training were.
type Naming struct {
	// Pattern is the pattern of file names (data.pattern, --pattern): {object}, {camera} and {class} stand for text
	// without a slash, * for text that does not matter, all else for itself. "{object}/{camera}" means a folder an
	// object. Without an extension, images of every kind are meant.
	Pattern string `json:"pattern,omitempty"`
	// Cameras are the names of the cameras by index; nil where they are numbered from 1.
	Cameras []string `json:"cameras,omitempty"`
}

// index returns the 0-based index of a camera: by its name, or by its number from 1 (also as C3) where no camera is
// named by a number. An image without a camera is of the first.
func (n Naming) index(camera string) (int, error) {
	if camera == "" {
		return 0, nil
	}
	if i := slices.Index(n.Cameras, camera); i >= 0 {
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

// cameraNumber reads a number from 1, also as C3. A number too large for any model is 1<<30, which is refused later.
func cameraNumber(name string) (int, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, "C"), 10, 30)
	if errors.Is(err, strconv.ErrRange) {
		return 1 << 30, true
	}
	return int(n), err == nil && n > 0
}

// nameCameras returns the names of the cameras of a set by index: nil where all are numbers from 1 to views. Other
// names are ordered, 2 before 10, and there must be as many as views.
func nameCameras(listings []listing, views int) ([]string, error) {
	numbers, seen := true, map[string]bool{}
	var names []string
	for _, l := range listings {
		for _, s := range l.shots {
			if !seen[s.camera] {
				seen[s.camera] = true
				names = append(names, s.camera)
				n, ok := cameraNumber(s.camera)
				numbers = numbers && (ok && n <= views || s.camera == "" && views == 1)
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

// natural orders numbers by value and before words.
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
	match *regexp.Regexp // of the path without its extension; nil: every image is an object
	ext   string         // of the images meant; "" means any
	depth int            // number of folders in it
}

// fields are what may stand in braces. The object takes as much of a name as it can, the class and the camera as
// little; a camera prefers digits, so that in C{camera}* they are not cut.
var fields = map[string]string{"class": `(?P<class>[^/]+?)`, "object": `(?P<object>[^/]+)`, "camera": `(?P<camera>[0-9]+|[^/]+?)`}

// newPattern compiles a pattern; "" takes every image as an object.
func newPattern(text string) (pattern, error) {
	p := pattern{text: text, depth: strings.Count(text, "/")}
	if text == "" {
		return p, nil
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

// has reports whether a field stands in the pattern.
func (p pattern) has(field string) bool { return p.match != nil && p.match.SubexpIndex(field) >= 0 }

// takes reports whether an image has the extension that the pattern asks for.
func (p pattern) takes(name string) bool {
	return p.ext == "" || strings.EqualFold(path.Ext(name), p.ext)
}

// parts are the fields of a name, "" where the pattern has none.
type parts struct{ class, object, camera string }

// split takes the path of an image apart, which has as many folders as the pattern.
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

// splitRealIAD takes the name of an image of Real-IAD apart, as gear_0001_NG_AK_C3_20261124120000.jpg: the camera is
// the last field C<number>, the object what stands before it. Some names have no time, others a double underscore.
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
