package report

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mvag-torch/eval/metric"
)

// Formats lists the formats of Table, for messages and help texts.
const Formats = "table, markdown, latex, csv or json"

// Table prints one row per class and one for their mean; columns are the names of metric.Name. The format is one of
//
//   - table: aligned text in percent, "n/a" where undefined; below, a note if undefined values were left out of the
//     mean, and three means by the rules of other programs;
//   - markdown: the same as Markdown;
//   - latex: the table in percent, for \usepackage{booktabs};
//   - csv: fractions with all digits, empty where undefined;
//   - json: results.json.
//
// For the 30 classes of Real-IAD, table, markdown and latex add rows that others have published.
func Table(w io.Writer, r Results, format string) error {
	var out []byte
	var err error
	switch format {
	case "table":
		out = text(r)
	case "markdown":
		out = markdown(r)
	case "latex":
		out = latex(r)
	case "csv":
		out, err = commas(r)
	case "json":
		out, err = encode(r)
	default:
		err = fmt.Errorf("format: have %q, want %s", format, Formats)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// rows returns the head, the classes and the mean as cells, then more.
func rows(r Results, cell func(float64) string, more [][]string) [][]string {
	mean, _ := r.Mean()
	out := [][]string{append([]string{"class"}, metric.Names()...)}
	for _, c := range slices.Concat(r.Classes, []Class{{Name: "mean", Values: mean}}) {
		row := []string{c.Name}
		for _, v := range c.Values {
			row = append(row, cell(v))
		}
		out = append(out, row)
	}
	return append(out, more...)
}

// headRows are the means by what judges beside the headline.
func headRows(r Results, cell func(float64) string) (out [][]string) {
	for _, h := range r.Heads() {
		row := []string{"mean, " + h.Name}
		for _, v := range h.Mean {
			row = append(row, cell(v))
		}
		out = append(out, row)
	}
	return out
}

// percent is a cell in percent.
func percent(v float64) string {
	if math.IsNaN(v) {
		return "n/a"
	}
	return strconv.FormatFloat(100*v, 'f', 1, 64)
}

// align pads the cells of each column to the same width: the first to the left, the others to the right.
func align(rows [][]string) {
	for column := range rows[0] {
		width := 0
		for _, row := range rows {
			width = max(width, utf8.RuneCountInString(row[column]))
		}
		for _, row := range rows {
			pad := strings.Repeat(" ", width-utf8.RuneCountInString(row[column]))
			if column == 0 {
				row[column] += pad
			} else {
				row[column] = pad + row[column]
			}
		}
	}
}

// style is a way to write a table: the text around cells, the escapes for names in the first column, and the line below
// the head, which is repeated around the mean if rules is set.
type style struct {
	left, between, right string
	name                 *strings.Replacer
	below                func(head []string) string
	rules                bool
}

var (
	plainStyle = style{"", "  ", "", strings.NewReplacer(), func(head []string) string {
		return strings.Repeat("-", utf8.RuneCountInString(strings.Join(head, "  ")))
	}, true}
	markdownStyle = style{"| ", " | ", " |", strings.NewReplacer("|", `\|`), func(head []string) string {
		line := "|"
		for column, cell := range head {
			dashes := strings.Repeat("-", utf8.RuneCountInString(cell)+1)
			if column == 0 {
				line += ":" + dashes + "|"
			} else {
				line += dashes + ":|"
			}
		}
		return line
	}, false}
	// latexStyle is for \usepackage{booktabs}.
	latexStyle = style{"", " & ", ` \\`, strings.NewReplacer(`\`, `\textbackslash{}`, "_", `\_`, "&", `\&`, "%", `\%`, "#", `\#`, "$", `\$`,
		"{", `\{`, "}", `\}`, "~", `\textasciitilde{}`, "^", `\textasciicircum{}`), func([]string) string { return `\midrule` }, true}
)

// grid writes the head, the classes, their mean and the published rows.
func grid(out *bytes.Buffer, r Results, s style) {
	more := append(headRows(r, percent), publishedRows(r)...)
	cells := rows(r, percent, more)
	for _, row := range cells {
		row[0] = s.name.Replace(row[0])
	}
	align(cells)
	mean := len(cells) - 1 - len(more)
	for i, row := range cells {
		if i == 1 || s.rules && (i == mean || i == mean+1) {
			out.WriteString(s.below(cells[0]) + "\n")
		}
		out.WriteString(s.left + strings.Join(row, s.between) + s.right + "\n")
	}
}

func text(r Results) []byte {
	var out bytes.Buffer
	grid(&out, r, plainStyle)
	for _, s := range notes(r) {
		out.WriteString(s + "\n")
	}
	if compat := compatRows(r); compat != nil {
		align(compat)
		out.WriteString("\n")
		for _, row := range compat {
			out.WriteString(strings.Join(row, "  ") + "\n")
		}
	}
	return out.Bytes()
}

func markdown(r Results) []byte {
	var out bytes.Buffer
	grid(&out, r, markdownStyle)
	for _, s := range notes(r) {
		out.WriteString("\n" + s + "\n")
	}
	if compat := compatRows(r); compat != nil {
		out.WriteString("\n| mean by another rule | % |\n|:--|--:|\n")
		for _, row := range compat {
			out.WriteString("| " + strings.Join(row, " | ") + " |\n")
		}
	}
	return out.Bytes()
}

func latex(r Results) []byte {
	var out bytes.Buffer
	out.WriteString(`\begin{tabular}{l` + strings.Repeat("r", int(metric.Count)) + "}\n\\toprule\n")
	grid(&out, r, latexStyle)
	out.WriteString("\\bottomrule\n\\end{tabular}\n")
	for _, s := range notes(r) {
		out.WriteString("% " + s + "\n")
	}
	return out.Bytes()
}

// comparable are the values by other rules that tables print: those that differ most between programs. results.json has
// all of them.
var comparable = []string{"AUPRO (Dinomaly, 200 thresholds)", "AUPRO (ADEval, 1000 bins)", "P-AUPR (ADEval, 1000 bins)"}

// compatRows returns the means of comparable, name and value.
func compatRows(r Results) [][]string {
	var out [][]string
	compat := r.Compat()
	for _, name := range comparable {
		if v, ok := compat[name]; ok {
			out = append(out, []string{name, percent(float64(v))})
		}
	}
	return out
}

func commas(r Results) ([]byte, error) {
	var out bytes.Buffer
	cell := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	err := csv.NewWriter(&out).WriteAll(rows(r, cell, headRows(r, cell)))
	return out.Bytes(), err
}

// notes are the lines below a table.
func notes(r Results) []string {
	var out []string
	if s := note(r); s != "" {
		out = append(out, s)
	}
	if alone := r.Alone(); alone != nil {
		out = append(out, "judged by memory alone, as the model was not trained on them: "+strings.Join(alone, ", "))
	}
	if heads := r.Heads(); heads != nil {
		out = append(out, "mean: reconstruction, the published model; memory: distance to good patches, without training; both: mean of their maps")
	}
	if publishedRows(r) != nil {
		out = append(out, publishedNote)
	}
	return out
}

// note says which metrics the mean leaves out in how many classes; "" if none.
func note(r Results) string {
	_, skipped := r.Mean()
	var parts []string
	done := map[int]bool{0: true}
	for _, k := range skipped {
		if done[k] {
			continue
		}
		done[k] = true
		var names []string
		for n, other := range skipped {
			if other == k {
				names = append(names, metric.Name(n).String())
			}
		}
		parts = append(parts, fmt.Sprintf("%s in %d of %d classes", strings.Join(names, ", "), k, len(r.Classes)))
	}
	if parts == nil {
		return ""
	}
	return "mean leaves out undefined values: " + strings.Join(parts, "; ")
}
