package report

import (
	"bytes"
	"strings"

	"mvag-torch/eval/metric"
)

// texEscape makes a name safe for LaTeX.
var texEscape = strings.NewReplacer(`\`, `\textbackslash{}`, "_", `\_`, "&", `\&`, "%", `\%`, "#", `\#`, "$", `\$`,
	"{", `\{`, "}", `\}`, "~", `\textasciitilde{}`, "^", `\textasciicircum{}`)

// latex returns a tabular for booktabs.
func latex(r Results) []byte {
	more := publishedRows(r)
	cells := rows(r, percent, more)
	mean := len(cells) - 1 - len(more)
	for _, row := range cells {
		row[0] = texEscape.Replace(row[0])
	}
	align(cells)
	var out bytes.Buffer
	out.WriteString(`\begin{tabular}{l` + strings.Repeat("r", int(metric.Count)) + "}\n\\toprule\n")
	for i, row := range cells {
		if i == 1 || i == mean && i > 1 || i == mean+1 {
			out.WriteString("\\midrule\n")
		}
		out.WriteString(strings.Join(row, " & ") + ` \\` + "\n")
	}
	out.WriteString("\\bottomrule\n\\end{tabular}\n")
	for _, s := range notes(r) {
		out.WriteString("% " + s + "\n")
	}
	return out.Bytes()
}
