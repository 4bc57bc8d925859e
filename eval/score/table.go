package score

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/dataset"
	"mvag-torch/internal/regularfile"
)

// row is a line of the table of a class. Any member may be missing.
type row struct {
	Object string
	Camera int // from 1; 0 where it is missing
	Path   string
	Label  *bool // whether the image is defective
	Code   string
	Score  *float64
	// Unmasked says that the image is defective and has no mask, which an empty one would hide.
	Unmasked bool
}

// others are members that eval writes and that are not read.
var others = []string{"class", "max"}

// maxTable bounds the bytes of a table.
const maxTable = 1 << 30

// table reads the table, if there is one, and fills in what is missing.
func (s *source) table(path string) error {
	text, err := regularfile.Read(path, maxTable)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err == nil {
		unread, err := parseTable(text, s.rows)
		if err != nil {
			return fmt.Errorf("%s%w", path, err)
		}
		s.unread = unread
	}
	labelled := slices.ContainsFunc(s.rows, func(r row) bool { return r.Label != nil })
	for i := range s.rows {
		r := &s.rows[i]
		s.notice(i, noLabel, labelled && r.Label == nil && !r.Unmasked)
		r.Path = cmp.Or(r.Path, fmt.Sprintf("%s row %d", s.maps.Path, i))
		r.Object = cmp.Or(r.Object, r.Path) // by itself
		r.Camera = cmp.Or(r.Camera, 1)
	}
	return nil
}

// parseTable reads JSON objects, one a line, into rows, one each, and lists the members that it does not know. Errors
// begin with a colon, and the number of the line where there is one.
func parseTable(text []byte, rows []row) (unread []string, err error) {
	text = bytes.TrimRight(bytes.TrimPrefix(text, []byte("\ufeff")), " \t\r\n")
	var lines [][]byte
	if len(text) > 0 {
		lines = bytes.Split(text, []byte("\n"))
	}
	scored := 0 // lines with a score
	for i, line := range lines[:min(len(lines), len(rows))] {
		unknown, err := rows[i].parse(bytes.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf(":%d: %w", i+1, err)
		}
		unread = append(unread, unknown...)
		if rows[i].Score != nil {
			scored++
		}
		if scored != 0 && scored != i+1 {
			return nil, fmt.Errorf(":%d: have a score in some of the lines up to here, want one in each or none", i+1)
		}
	}
	if len(lines) != len(rows) {
		return nil, fmt.Errorf(": have %d lines, want %d, one per image", len(lines), len(rows))
	}
	slices.Sort(unread)
	return slices.Compact(unread), nil
}

// python matches the numbers that Python writes into JSON and JSON does not have.
var python = regexp.MustCompile(`([:,]\s*)(NaN|-?Infinity)\b`)

// parse reads a line, and lists its unknown members. Null is as good as nothing.
func (r *row) parse(line []byte) (unknown []string, err error) {
	members, err := membersOf(line)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, m := range members {
		key, value, name := m.key, m.value, strings.ToLower(m.key)
		if other, twice := seen[name]; twice {
			return nil, fmt.Errorf("have the members %.60q and %.60q, want one of them", other, key)
		}
		seen[name] = key
		known, err := true, error(nil)
		if text := scalar(value); string(value) != "null" && (text == nil || *text != "" || name != "label") { // an empty label is none
			known, err = r.member(name, text)
		}
		if err != nil {
			return nil, fmt.Errorf("%.60s: have %.60s, want %w", key, value, err)
		}
		if !known {
			unknown = append(unknown, key)
		}
	}
	if r.Unmasked && r.Label != nil && !*r.Label {
		return nil, errors.New("label: have 0 of an unmasked image, want 1: unmasked is said of defective images")
	}
	return unknown, nil
}

// member is a member of a JSON object as it is written.
type member struct {
	key   string
	value json.RawMessage
}

// membersOf lists the members of a JSON object in order, also those that are there twice.
func membersOf(line []byte) (list []member, err error) {
	if !json.Valid(line) {
		line = python.ReplaceAll(line, []byte(`$1"$2"`))
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if start, err := d.Token(); err != nil || start != json.Delim('{') || !json.Valid(line) {
		return nil, fmt.Errorf("have %.60q, want a JSON object", line)
	}
	for d.More() {
		key, err := d.Token()
		m := member{}
		if err == nil {
			m.key, _ = key.(string) // a valid object has no other keys
			err = d.Decode(&m.value)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, nil
}

// scalar returns the text of a string, a number or a truth value; what is none of them is not text.
func scalar(value json.RawMessage) *string {
	text := string(value)
	switch value[0] {
	case '{', '[':
		return nil
	case '"':
		if json.Unmarshal(value, &text) != nil {
			return nil
		}
	}
	return &text
}

// member sets a member. It returns false if there is none of that name; the error says what is wanted.
func (r *row) member(key string, text *string) (known bool, err error) {
	if text == nil { // no scalar
		switch key {
		case "object", "camera", "path", "label", "defect", "score", "unmasked":
			return true, errors.New("text, a number or a truth value")
		}
		return slices.Contains(others, key), nil
	}
	switch key {
	case "object":
		r.Object = *text
	case "path":
		r.Path = *text
	case "defect":
		r.Code = *text
	case "camera":
		n, err := strconv.ParseFloat(*text, 64)
		if err != nil || n != math.Trunc(n) || n < 1 || n > 1<<20 {
			return true, errors.New("a whole number from 1")
		}
		r.Camera = int(n)
	case "score":
		v, err := strconv.ParseFloat(strings.TrimSpace(*text), 64)
		if err != nil || v != v {
			return true, errors.New("a number")
		}
		r.Score = &v
	case "label":
		return true, r.label(strings.TrimSpace(*text))
	case "unmasked":
		if r.Unmasked, err = strconv.ParseBool(*text); err != nil {
			return true, errors.New("true or false")
		}
	default:
		return slices.Contains(others, key), nil
	}
	return true, nil
}

// label sets the label: a number, a truth value or a word, which is a defect code if it means nothing else.
func (r *row) label(text string) error {
	number, err := strconv.ParseFloat(text, 64)
	defective := !dataset.IsGoodLabel(text)
	switch {
	case err == nil && number != number: // an empty cell of pandas
		return nil
	case err == nil && number != 0 && number != 1:
		return errors.New("0 or 1")
	case err == nil:
		defective = number == 1
	case defective && !slices.Contains([]string{"true", "yes", "bad", "anomaly", "defect"}, strings.ToLower(text)):
		r.Code = cmp.Or(r.Code, text)
	}
	r.Label = &defective
	return nil
}
