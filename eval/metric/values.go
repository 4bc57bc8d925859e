package metric

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Name is a metric of a class.
type Name int

// The metrics of a class in the order of every table: of images, of pixels, the mean of these seven, of objects.
const (
	ImageAUROC Name = iota
	ImageAP
	ImageF1max
	PixelAUROC
	PixelAP
	PixelF1max
	AUPRO
	MAD
	ObjectAUROC
	ObjectAP
	ObjectF1max
	Count // how many there are
)

var names = [Count]string{
	ImageAUROC: "I-AUROC", ImageAP: "I-AP", ImageF1max: "I-F1max",
	PixelAUROC: "P-AUROC", PixelAP: "P-AP", PixelF1max: "P-F1max", AUPRO: "AUPRO",
	MAD:         "mAD",
	ObjectAUROC: "S-AUROC", ObjectAP: "S-AP", ObjectF1max: "S-F1max",
}

// String is the name in files and tables, such as "I-AUROC".
func (n Name) String() string {
	if n < 0 || n >= Count {
		return "Name(" + strconv.Itoa(int(n)) + ")"
	}
	return names[n]
}

// Names lists all names in the order of every table.
func Names() []string { return names[:] }

// Values are the metrics of one class or their means, as fractions; an undefined value is NaN. As JSON they are an
// object in the order of the names, with null for NaN.
type Values [Count]float64

// ofMAD are the seven whose mean mAD is.
var ofMAD = []Name{ImageAUROC, ImageAP, ImageF1max, PixelAUROC, PixelAP, PixelF1max, AUPRO}

// NewValues puts the results of one class together; mAD is undefined if any of the seven is.
func NewValues(image Ranking, pixel PixelRanking, object Ranking) Values {
	v := Values{
		ImageAUROC: image.AUROC, ImageAP: image.AP, ImageF1max: image.F1max,
		PixelAUROC: pixel.AUROC, PixelAP: pixel.AP, PixelF1max: pixel.F1max, AUPRO: pixel.AUPRO,
		ObjectAUROC: object.AUROC, ObjectAP: object.AP, ObjectF1max: object.F1max,
	}
	for _, n := range ofMAD {
		v[MAD] += v[n]
	}
	v[MAD] /= float64(len(ofMAD))
	return v
}

// Mean is the plain mean over classes of each metric. Classes in which it is undefined are left out of its mean, and
// skipped says how many those are.
func Mean(classes []Values) (mean Values, skipped [Count]int) {
	for n := range Count {
		total := 0.0
		for _, c := range classes {
			if math.IsNaN(c[n]) {
				skipped[n]++
			} else {
				total += c[n]
			}
		}
		mean[n] = total / float64(len(classes)-skipped[n]) // 0/0 is NaN
	}
	return mean, skipped
}

// MarshalJSON writes the object; an infinite value is an error.
func (v Values) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for n, x := range v {
		if n > 0 {
			out = append(out, ',')
		}
		out = append(strconv.AppendQuote(out, names[n]), ':')
		if math.IsNaN(x) {
			out = append(out, "null"...)
			continue
		}
		number, err := json.Marshal(x)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", names[n], err)
		}
		out = append(out, number...)
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads an object by name, so that files of other versions can be read: what is missing or null is NaN,
// unknown names are ignored. A value that is no fraction is an error.
func (v *Values) UnmarshalJSON(data []byte) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	for n, name := range names {
		x := Number(math.NaN())
		if text, ok := object[name]; ok {
			if err := json.Unmarshal(text, &x); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if x < 0 || x > 1 {
			return fmt.Errorf("%s: have %v, want a fraction", name, x)
		}
		v[n] = float64(x)
	}
	return nil
}
