package dataset

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// pattern reads object and camera out of the path of a picture: data.pattern.
type pattern struct {
	text  string
	match *regexp.Regexp // nil: every picture is an object
	ext   string         // of the pictures meant; "" means any
	depth int            // folders in it
}

// newPattern compiles a pattern such as {object}_{camera}.jpg or
// {object}/{camera}. Without an extension, pictures of any kind are meant; an
// empty one takes every picture as an object.
func newPattern(text string) (pattern, error) {
	p := pattern{text: text, depth: strings.Count(text, "/")}
	if text == "" {
		return p, nil
	}
	if isPicture(text) {
		p.ext = path.Ext(text)
	}
	expression := regexp.QuoteMeta(strings.TrimSuffix(text, p.ext))
	// The object takes as much as it can, the camera as little.
	expression = strings.Replace(expression, `\{object\}`, `(?P<object>[^/]+)`, 1)
	expression = strings.Replace(expression, `\{camera\}`, `(?P<camera>[^/]+?)`, 1)
	match, err := regexp.Compile(`(?s)^` + expression + `$`)
	if err != nil || match.SubexpIndex("object") < 0 {
		return p, fmt.Errorf("data.pattern: have %q, want {object} and {camera} in it, as {object}_{camera}.jpg", text)
	}
	p.match = match
	return p, nil
}

// takes reports whether a picture has the extension that the pattern asks for.
func (p pattern) takes(name string) bool {
	return p.ext == "" || strings.EqualFold(path.Ext(name), p.ext)
}

// split returns object and camera of a picture.
func (p pattern) split(name string) (object, camera string, err error) {
	name = trimExt(name)
	if p.match == nil {
		return name, "", nil
	}
	groups := p.match.FindStringSubmatch(name)
	if groups == nil {
		return "", "", fmt.Errorf("have a picture %q, want names as data.pattern %q", name, p.text)
	}
	if i := p.match.SubexpIndex("camera"); i >= 0 {
		camera = groups[i]
	}
	return groups[p.match.SubexpIndex("object")], camera, nil
}

// check compares the pattern with the number of views.
func (p pattern) check(format string, views int) error {
	if views != 1 && (p.match == nil || p.match.SubexpIndex("camera") < 0) {
		return fmt.Errorf("data.views: have %d, want 1 with data.format %s, or a data.pattern with {camera} in it", views, format)
	}
	return nil
}
