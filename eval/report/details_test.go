package report

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mvag-torch/eval/metric"
)

func detailed() Results {
	r := example()
	for i, v := range []metric.Number{0.5, metric.Number(undefined), 0.25} {
		r.Classes[i].Details = &Details{
			Counts:     map[string]int64{"regions": 3},
			Thresholds: map[string]metric.Number{"image": v, "pixel": metric.Number(undefined)},
			Compat:     map[string]metric.Number{"AUPRO (Dinomaly, 200 thresholds)": v, "AUPRO (ADEval, 1000 bins)": metric.Number(undefined), "I-AP (max)": 0.5},
			Views:      map[string]metric.Values{"C1": r.Classes[i].Values},
			Defects:    map[string]metric.Values{},
		}
	}
	return r
}

func TestDetailsSurvive(t *testing.T) {
	first, err := encode(detailed())
	if err != nil {
		t.Fatal(err)
	}
	var back Results
	if err := json.Unmarshal(first, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := encode(back); err != nil || string(again) != string(first) {
		t.Errorf("have %s, %v, want %s", again, err, first)
	}
	compat := back.Compat()
	if never := compat["AUPRO (ADEval, 1000 bins)"]; len(compat) != 3 || compat["AUPRO (Dinomaly, 200 thresholds)"] != 0.375 || never == never {
		t.Errorf("compat: have %v, want the mean of two classes and NaN", compat)
	}
	excluded := back.Excluded()
	if len(excluded) != 2 || strings.Join(excluded["änderung"], " ") != "S-AUROC S-AP S-F1max" || len(excluded["bottle_cap"]) != 5 {
		t.Errorf("excluded: have %v", excluded)
	}
}

func TestOtherRulesBelowTheTable(t *testing.T) {
	for format, want := range map[string]string{
		"table":    "\n\nAUPRO (Dinomaly, 200 thresholds)  37.5\nAUPRO (ADEval, 1000 bins)          n/a\n",
		"markdown": "\n| AUPRO (Dinomaly, 200 thresholds) | 37.5 |\n",
	} {
		if have := render(t, detailed(), format); !strings.Contains(have, want) || strings.Contains(have, "I-AP (max)") {
			t.Errorf("%s: have %s\nwant %s", format, have, want)
		}
	}
}

func TestPublishedRows(t *testing.T) {
	r := Results{}
	for _, name := range realIAD {
		r.Classes = append(r.Classes, Class{Name: name})
	}
	for format, want := range map[string]string{
		"table": "\nDinomaly              89.3  86.8     80.2     98.8  42.8     47.1   93.9  77.0        -     -        -\n",
		"latex": "\\midrule\nDinomaly            &    89.3 & 86.8 &    80.2 &",
	} {
		if have := render(t, r, format); !strings.Contains(have, want) || !strings.Contains(have, publishedNote) {
			t.Errorf("%s: have %s\nwant %s", format, have, want)
		}
	}
	if len(realIAD) != 30 {
		t.Errorf("have %d classes, want 30", len(realIAD))
	}
	r.Classes = r.Classes[1:]
	for _, format := range []string{"table", "markdown", "latex"} {
		if have := render(t, r, format); strings.Contains(have, "Dinomaly") {
			t.Errorf("%s of 29 classes: have published rows, want none", format)
		}
	}
	r.Classes = append(r.Classes, Class{Name: realIAD[0]})
	for _, row := range publishedRows(r) { // mAD is the mean of the seven
		seven, mad := 0.0, 0.0
		for i, cell := range row[1:9] {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				t.Fatal(err)
			}
			if metric.Name(i) == metric.MAD {
				mad = v
			} else {
				seven += v / 7
			}
		}
		if d := seven - mad; d > 0.051 || d < -0.051 {
			t.Errorf("%s: have mAD %v, want %v", row[0], mad, seven)
		}
	}
	head := strings.Fields(strings.Split(published, "\n")[1])
	if !slices.Equal(head[1:], metric.Names()) {
		t.Errorf("have columns %q, want names of metrics", head)
	}
}

const exampleLatex = `
\begin{tabular}{lrrrrrrrrrrr}
\toprule
class       & I-AUROC & I-AP & I-F1max & P-AUROC & P-AP & P-F1max & AUPRO & mAD & S-AUROC & S-AP & S-F1max \\
\midrule
bottle\_cap &    50.0 & 37.5 &    25.0 &     n/a &  n/a &     n/a &   n/a & n/a &    25.0 & 12.5 &     0.0 \\
\midrule
mean        &    50.0 & 37.5 &    25.0 &     n/a &  n/a &     n/a &   n/a & n/a &    25.0 & 12.5 &     0.0 \\
\bottomrule
\end{tabular}
% mean leaves out undefined values: P-AUROC, P-AP, P-F1max, AUPRO, mAD in 1 of 1 classes
`

func TestLatex(t *testing.T) {
	r := example()
	r.Classes = r.Classes[1:2]
	if have := "\n" + render(t, r, "latex"); have != exampleLatex {
		t.Errorf("have%s\nwant%s", have, exampleLatex)
	}
	if have := latexStyle.name.Replace(`a_b&c\d`); have != `a\_b\&c\textbackslash{}d` {
		t.Errorf("have %s", have)
	}
}
