package dataset

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// table is a parsed CSV file: the only reader of tables, for data sets, calibrate and predict.
type table struct {
	columns []string // "" for a column that is not used
	rows    []row
	lines   []int    // line of each row in the file
	blank   []int    // lines of rows without a value
	unused  []string // columns that are not known
}

// row is one row by column, without spaces around values.
type row map[string]string

func (t *table) has(column string) bool { return slices.Contains(t.columns, column) }

// readTable reads a CSV file. If strict, unknown columns are an error.
func readTable(name string, required, optional []string, strict bool) (*table, error) {
	data, err := readFile(name, nil)
	if err != nil {
		return nil, err
	}
	t, err := parseTable(data, required, optional, strict)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", printable(name), err)
	}
	return t, nil
}

// separatorLine matches a first line that tells Excel the separator.
var separatorLine = regexp.MustCompile(`^"?(?i:sep)=([,;\t])"?[ \t]*\r?\n`)

// parseTable parses CSV in UTF-8, or UTF-16 with a byte order mark. The separator is a comma, semicolon or tab: as a
// first line sep= says, else whichever is most frequent in the row of column names. Errors name the line.
func parseTable(data []byte, required, optional []string, strict bool) (*table, error) {
	data, err := plainText(data)
	if err == nil {
		err = checkText(data)
	}
	if err != nil {
		return nil, err
	}
	first := 0 // lines before the table
	var separator rune
	if m := separatorLine.FindSubmatch(data); m != nil {
		data, separator, first = data[len(m[0]):], rune(m[1][0]), 1
	} else {
		separator = separatorOf(data)
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma, r.FieldsPerRecord = separator, -1
	r.TrimLeadingSpace = separator != '\t' // a tab is a space
	t := new(table)
	for {
		fields, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, csvError(err, first)
		}
		line, _ := r.FieldPos(0)
		if err := t.add(fields, first+line, required, optional, strict); err != nil {
			return nil, err
		}
	}
	if len(t.rows) == 0 {
		return nil, errors.New("have no rows, want a line of columns and one an image")
	}
	return t, nil
}

// separatorOf returns the separator of the row of column names.
func separatorOf(data []byte) rune {
	var counts [256]int
	quoted := false
	for _, c := range bytes.TrimLeft(data, "\r\n") {
		if c == '\n' && !quoted {
			break
		}
		if c == '"' {
			quoted = !quoted
		}
		if !quoted {
			counts[c]++
		}
	}
	best := byte(',')
	for _, c := range []byte(";\t") {
		if counts[c] > counts[best] {
			best = c
		}
	}
	return rune(best)
}

// csvError says in a line what is wrong with the quotes of a table.
func csvError(err error, first int) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	return fmt.Errorf("line %d: have a quote inside a value or one that does not end, want quotes around the whole value, and those in it doubled",
		first+parse.StartLine)
}

// add adds a row; the first with a value has the column names.
func (t *table) add(fields []string, line int, required, optional []string, strict bool) (err error) {
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	used := len(fields)
	for used > 0 && fields[used-1] == "" {
		used--
	}
	switch {
	case used == 0:
		t.blank = append(t.blank, line)
		return nil
	case t.columns == nil:
		t.columns, t.unused, err = columns(fields, required, optional, strict)
		return err
	case used > len(t.columns) || len(fields) < len(t.columns):
		return fmt.Errorf("line %d: have %d values for %d columns", line, max(used, len(fields)), len(t.columns))
	}
	values := row{}
	for i, name := range t.columns {
		if name != "" {
			values[name] = fields[i]
		}
	}
	t.rows, t.lines = append(t.rows, values), append(t.lines, line)
	return nil
}

// unnamed matches the column that pandas writes for the index of a table.
var unnamed = regexp.MustCompile(`^(unnamed: [0-9]+)?$`)

// columns checks the column names, in any case: none twice, none missing, and if strict none unknown. A column without
// a name is not used. An unknown one that is nearly known is an error, since it would be missed.
func columns(fields, required, optional []string, strict bool) (names, unused []string, err error) {
	known := slices.Concat(required, optional)
	want := strings.Join(known, ", ")
	lower := make([]string, len(fields))
	for i, field := range fields {
		lower[i] = strings.ToLower(field)
	}
	for i, field := range fields {
		name := lower[i]
		near := similar(name, known)
		switch {
		case slices.Contains(known, name) && slices.Contains(names, name):
			return nil, nil, fmt.Errorf("column %q: have it twice, want it once", name)
		case slices.Contains(known, name):
		case unnamed.MatchString(name):
			name = ""
		case near != "" && !slices.Contains(lower, near):
			return nil, nil, fmt.Errorf("column %q: is unknown, did you mean %q? want %s", field, near, want)
		case strict:
			return nil, nil, fmt.Errorf("column %q: is unknown, want %s", field, want)
		default:
			unused, name = append(unused, field), ""
		}
		names = append(names, name)
	}
	for _, name := range required {
		if !slices.Contains(names, name) {
			return nil, nil, fmt.Errorf("column %q: have none in %q, want columns %s", name, fields, want)
		}
	}
	return names, unused, nil
}

// similar returns the known name that differs from name in one letter, or in two if it is long; "" if there is none.
func similar(name string, known []string) string {
	for _, k := range known {
		if smetrics.WagnerFischer(name, k, 1, 1, 1) <= max(1, len(k)/3) {
			return k
		}
	}
	return ""
}
