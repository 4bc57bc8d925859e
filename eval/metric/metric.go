// Package metric computes the exact metrics of anomaly detection: AUROC, average precision and maximal F1 of images,
// objects and pixels, and the per-region overlap AUPRO. Beside them, under names of their own, it computes what other
// programs print instead (Compat).
//
// No score is binned and no curve is built. All four metrics depend on the negative (normal) scores only through two
// counts at each distinct positive (anomalous) score v: how many negatives are above v and how many equal it. So only
// the positives are sorted, usually less than one percent of the pixels, and the negatives are counted between them.
// Equal scores always enter together.
//
// An undefined value is NaN: AUROC needs both labels, AP and F1max a positive, AUPRO a region and a negative. Infinite
// scores are ordered like any others, -0 equals +0, and a NaN score is an error that names the image.
//
// Results are the same bits for any order of the input and any number of CPUs: counts are integers, and the only
// inexact sums run over the positives in sorted order.
package metric

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Ranking says how well scores put anomalous samples above normal ones. Undefined values are NaN.
type Ranking struct {
	// AUROC is the probability that an anomalous sample scores higher than a normal one, ties counting one half.
	AUROC float64
	// AP is the average precision: the sum of the precision at each threshold times the step in recall, without
	// interpolation, as in scikit-learn.
	AP float64
	// F1max is the largest 2TP/(P+TP+FP) over all thresholds.
	F1max float64
	// Threshold is the smallest score t for which "score >= t" reaches F1max.
	Threshold float64

	// For comparison with other programs only:

	// F1Eps is the largest 2pr/(p+r+1e-7) of precision p and recall r, as in Dinomaly.
	F1Eps float64
	// AUPR is the area under precision over recall by the trapezoid rule, as in anomalib and, after binning, ADEval; it
	// is not AP.
	AUPR float64
}

// Number is a float64 that JSON can always hold: NaN is null, infinities are "Infinity" and "-Infinity".
type Number float64

// MarshalJSON writes a number, null or a string.
func (n Number) MarshalJSON() ([]byte, error) {
	switch v := float64(n); {
	case math.IsNaN(v):
		return []byte("null"), nil
	case math.IsInf(v, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(v)
	}
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Number) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "null":
		*n = Number(math.NaN())
	case `"Infinity"`:
		*n = Number(math.Inf(1))
	case `"-Infinity"`:
		*n = Number(math.Inf(-1))
	default:
		return json.Unmarshal(data, (*float64)(n))
	}
	return nil
}

// Rank computes the ranking of images or objects: scores[i] belongs to a sample that is anomalous if labels[i] is true.
// Its error names the lengths if they differ, or the first sample whose score is NaN.
func Rank(scores []float64, labels []bool) (Ranking, error) {
	c, positives, err := count(scores, labels)
	if err != nil {
		return Ranking{}, err
	}
	return c.evaluate(positives, nil, 0, nil).Ranking, nil
}

// count counts the negatives around the positives, and returns these packed by the index of their edge.
func count(scores []float64, labels []bool) (*counts, []uint64, error) {
	if len(scores) != len(labels) {
		return nil, nil, fmt.Errorf("labels: have %d, want %d as there are scores", len(labels), len(scores))
	}
	scale := NewScale(0, 0, slices.Clone(scores))
	keys := make([]uint32, len(scores))
	if _, _, i := scale.keys(keys, scores); i >= 0 {
		return nil, nil, fmt.Errorf("score %d of %d: have NaN, want a number", i, len(scores))
	}
	var positives []uint64
	negatives := chunk{keys: make([]uint32, 0, len(keys))}
	for i, k := range keys {
		if labels[i] {
			positives = append(positives, pack(k, 0))
		} else {
			negatives.keys = append(negatives.keys, k)
		}
	}
	r := newRanks(distinct(positives), 1)
	r.countAll([]chunk{negatives})
	c := r.counts(allViews)
	c.scale = scale
	return c, indexed(r.index.edges, positives), nil
}
