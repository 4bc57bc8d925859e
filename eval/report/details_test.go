package report

import (
	"encoding/json"
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
			Compat:     map[string]metric.Number{"AUPRO (other)": v, "never": metric.Number(undefined)},
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
	if len(compat) != 2 || compat["AUPRO (other)"] != 0.375 || compat["never"] == compat["never"] {
		t.Errorf("compat: have %v, want the mean of two classes and NaN", compat)
	}
	excluded := back.Excluded()
	if len(excluded) != 2 || strings.Join(excluded["änderung"], " ") != "S-AUROC S-AP S-F1max" || len(excluded["bottle_cap"]) != 5 {
		t.Errorf("excluded: have %v", excluded)
	}
	bad := strings.Replace(string(first), `"counts"`, `"count"`, 1)
	if err := json.Unmarshal([]byte(bad), &back); err == nil || !strings.Contains(err.Error(), "details") {
		t.Errorf("unknown member: have %v, want an error", err)
	}
}

func TestOtherRulesBelowTheTable(t *testing.T) {
	for format, want := range map[string]string{
		"table":    "\nmeans by other rules\nAUPRO (other)  37.50\nnever            n/a\n",
		"markdown": "\n| AUPRO (other) | 37.50 |\n",
	} {
		if have := render(t, detailed(), format); !strings.Contains(have, want) {
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
	for _, row := range realIADRows { // mAD is the mean of the seven
		var sum, n float64
		var mad float64
		for i, c := range row.values[:metric.MAD+1] {
			var v float64
			if err := json.Unmarshal([]byte(c), &v); err != nil {
				t.Fatal(err)
			}
			if i == int(metric.MAD) {
				mad = v
			} else {
				sum, n = sum+v, n+1
			}
		}
		if d := sum/n - mad; d > 0.051 || d < -0.051 {
			t.Errorf("%s: have mAD %v, want %v", row.name, mad, sum/n)
		}
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
	if have := texEscape.Replace(`a_b&c\d`); have != `a\_b\&c\textbackslash{}d` {
		t.Errorf("have %s", have)
	}
}
