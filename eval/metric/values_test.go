package metric

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func example(aupro float64) Values {
	return NewValues(
		Ranking{AUROC: 0.9, AP: 0.8, F1max: 0.7},
		PixelRanking{Ranking: Ranking{AUROC: 0.6, AP: 0.5, F1max: 0.4}, AUPRO: aupro},
		Ranking{AUROC: 0.95, AP: 0.85, F1max: 0.75})
}

func TestMAD(t *testing.T) {
	if v := example(0.3); !near(v[MAD], 0.6, 1e-15) {
		t.Errorf("have %v, want 0.6", v[MAD])
	}
	if v := example(nan); !math.IsNaN(v[MAD]) {
		t.Errorf("have %v, want NaN without AUPRO", v[MAD])
	}
	v := NewValues(Ranking{1, 1, 1, 0, 1, 1}, PixelRanking{Ranking: Ranking{1, 1, 1, 0, 1, 1}, AUPRO: 1}, Ranking{nan, nan, nan, nan, nan, nan})
	if v[MAD] != 1 {
		t.Errorf("have %v, want 1: objects do not count", v[MAD])
	}
}

func TestMean(t *testing.T) {
	mean, skipped := Mean([]Values{example(0.3), example(nan), example(0.5)})
	if !near(mean[AUPRO], 0.4, 1e-15) || !near(mean[ImageAP], 0.8, 1e-15) {
		t.Errorf("have %v", mean)
	}
	if want := [Count]int{AUPRO: 1, MAD: 1}; skipped != want {
		t.Errorf("skipped: have %v, want %v", skipped, want)
	}
	mean, skipped = Mean([]Values{example(nan)})
	if !math.IsNaN(mean[AUPRO]) || mean[ImageAP] != 0.8 || skipped[AUPRO] != 1 {
		t.Errorf("have %v, %v", mean, skipped)
	}
	if mean, skipped = Mean(nil); !math.IsNaN(mean[ImageAUROC]) || skipped != [Count]int{} {
		t.Errorf("no class: have %v, %v", mean, skipped)
	}
}

func TestValuesJSON(t *testing.T) {
	const want = `{"I-AUROC":0.9,"I-AP":0.8,"I-F1max":0.7,"P-AUROC":0.6,"P-AP":0.5,"P-F1max":0.4,` +
		`"AUPRO":null,"mAD":null,"S-AUROC":0.95,"S-AP":0.85,"S-F1max":0.75}`
	data, err := json.Marshal(example(nan))
	if err != nil || string(data) != want {
		t.Errorf("have %s, %v, want %s", data, err, want)
	}
	var back Values
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.Marshal(back); err != nil || string(again) != want {
		t.Errorf("read back: have %s, %v, want %s", again, err, want)
	}
	other := strings.NewReplacer(`"P-AP":0.5,`, ``, `"mAD"`, `"PRO":7,"mAD"`).Replace(want)
	if err := json.Unmarshal([]byte(other), &back); err != nil || !math.IsNaN(back[PixelAP]) || back[PixelF1max] != 0.4 {
		t.Errorf("other version: have %v, %v, want P-AP undefined and PRO ignored", back, err)
	}
	for old, bad := range map[string]string{`"AUPRO":null`: `"AUPRO":"0.3"`, `"mAD":null`: `"mAD":1.5`, `"P-AP":0.5`: `"P-AP":"Infinity"`} {
		err := json.Unmarshal([]byte(strings.Replace(want, old, bad, 1)), &back)
		if name, _, _ := strings.Cut(bad[1:], `"`); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s: have %v, want an error of %s", bad, err, name)
		}
	}
	if _, err := json.Marshal(Values{AUPRO: math.Inf(1)}); err == nil || !strings.Contains(err.Error(), "AUPRO: ") {
		t.Errorf("infinity: have %v, want an error", err)
	}
}

func TestNames(t *testing.T) {
	const want = "I-AUROC I-AP I-F1max P-AUROC P-AP P-F1max AUPRO mAD S-AUROC S-AP S-F1max"
	var have []string
	for n := range Count {
		have = append(have, n.String())
	}
	if s := strings.Join(have, " "); s != want {
		t.Errorf("have %s, want %s", s, want)
	}
	if s := Count.String(); s != "Name(11)" {
		t.Errorf("have %s, want Name(11)", s)
	}
}
