package dataset

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table prints a row for each class and for the total, then the findings with the first file or object of each, then a
// summary line.
func (r *SetCheck) Table(w io.Writer) error {
	var out bytes.Buffer
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "class\tobjects\ttrain\ttest\tbad\tviews\timages\ttrain\ttest\tgood\tbad\tdefects\tsizes")
	for _, class := range r.Classes {
		class.line(t, class.Class)
	}
	if len(r.Classes) > 1 {
		r.Total.line(t, "total")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	out.WriteByte('\n')
	more := false
	for _, class := range r.Classes {
		for _, f := range findings {
			if lines := class.Findings[f.kind]; len(lines) > 0 {
				fmt.Fprintf(&out, "%s: %s: %s; the first: %s\n", class.Class, f.words, thousands(len(lines)), lines[0])
				more = more || len(lines) > 1
			}
		}
	}
	if more {
		out.WriteString("--json lists all, each file with its cause\n")
	}
	for _, line := range r.Remarks {
		out.WriteString(line + "\n")
	}
	n := r.Total
	fmt.Fprintf(&out, "%s images, %s train, %s test, %s defective, %s objects, %d classes\n", thousands(n.Images),
		thousands(n.TrainImages), thousands(n.TestImages), thousands(n.Defective), thousands(n.Objects), len(r.Classes))
	if r.IndexOnly {
		out.WriteString("index only: no image was read\n")
	}
	_, err := w.Write(out.Bytes())
	return err
}

// line prints one row.
func (c *Counts) line(w io.Writer, name string) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", name, c.Objects, c.TrainObjects, c.TestObjects,
		c.DefectiveObjects, c.Views, c.Images, c.TrainImages, c.TestImages, c.Good, c.Defective,
		tally(c.Codes, strings.Compare), tally(c.Sizes, func(a, b string) int { return cmp.Compare(c.Sizes[b], c.Sizes[a]) }))
}

// tally lists counts by name: the first four in the given order.
func tally(counts map[string]int, order func(a, b string) int) string {
	const most = 4
	names := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(names, order)
	var parts []string
	for i, name := range names {
		if i == most && len(names) > most {
			parts = append(parts, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%s:%d", printable(name), counts[name]))
	}
	return cmp.Or(strings.Join(parts, " "), "-")
}

// thousands formats n with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
