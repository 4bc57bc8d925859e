// Package report holds the results of an evaluation, writes and reads them as results.json, and prints them as a table.
//
// results.json is an object of four members: "protocol", whatever describes how the values came about; "classes", an
// object with one member per class in the order of evaluation; "mean", the plain mean over classes; and "compat", the
// means of the values by the rules of other programs, which is absent if the classes have no details. Beside "mean",
// "heads" has the means by what else judges, where anything does. Values are
// fractions under the names of metric.Name, null where undefined:
//
//	{
//	  "protocol": {"settings": {"data.views": "5", …}, …},
//	  "classes": {
//	    "gear": {"I-AUROC": 0.97, …, "mAD": 0.83, "S-AUROC": 0.98, …, "images": 170, "defective": 56, "objects": 34, "masks": 56,
//	             "details": {"counts": {…}, "thresholds": {…}, "compat": {…}, "views": {…}, "defects": {…}}}
//	  },
//	  "mean": {"I-AUROC": 0.97, …},
//	  "compat": {"AUPRO (Dinomaly, 200 thresholds)": 0.86, …}
//	}
//
// A file of another version of the program is read by name: values that it does not have are undefined, members that
// this version does not know are listed in Results.Unknown.
package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"mvag-torch/eval/metric"
)

// Results are the results of one evaluation.
type Results struct {
	// Protocol says how the values came about; it is written by encoding/json, and is a json.RawMessage after reading.
	Protocol any
	// Classes are in the order of evaluation; their names differ.
	Classes []Class
	// Unknown are the names of members that were read and mean nothing to this version, sorted.
	Unknown []string
}

// Class is one class.
type Class struct {
	Name   string
	Values metric.Values
	Counts
	// Head is what judges in Values: "memory" for a class that the model was not trained on, else "". Heads are the values
	// by what judges beside it, by name.
	Head  string
	Heads map[string]metric.Values
	// Details is nil in results that have none.
	Details *Details
}

// Counts are what was evaluated of a class.
type Counts struct {
	Images    int `json:"images"`
	Defective int `json:"defective"` // images labelled so
	Objects   int `json:"objects"`
	Masks     int `json:"masks"` // images with defective pixels left in their mask after resizing and cropping
}

// Details are what a class has besides its headline values. Maps are written in the order of their keys.
type Details struct {
	// Counts of pixels, regions and odd images.
	Counts map[string]int64 `json:"counts"`
	// Thresholds are the scores at which "score >= threshold" reaches F1max.
	Thresholds map[string]metric.Number `json:"thresholds"`
	// Compat are values by other rules than those of the protocol, under names that say which.
	Compat map[string]metric.Number `json:"compat"`
	// Views are the values of one camera's images by themselves, Defects those of one defect code among all that is
	// good.
	Views   map[string]metric.Values `json:"views"`
	Defects map[string]metric.Values `json:"defects"`
}

// Mean is the mean over classes; skipped says in how many of them each value is undefined and therefore left out.
func (r Results) Mean() (mean metric.Values, skipped [metric.Count]int) {
	values := make([]metric.Values, len(r.Classes))
	for i, c := range r.Classes {
		values[i] = c.Values
	}
	return metric.Mean(values)
}

// Head is what judges beside the headline.
type Head struct {
	Name string
	Mean metric.Values // over classes; one that has only one head counts with that
}

// Heads lists what judges beside the headline in any class; nil if nothing does.
func (r Results) Heads() (heads []Head) {
	for _, name := range []string{"memory", "both"} {
		values, any := make([]metric.Values, len(r.Classes)), false
		for i, c := range r.Classes {
			v, ok := c.Heads[name]
			if !ok {
				v = c.Values
			}
			values[i], any = v, any || ok
		}
		if any {
			mean, _ := metric.Mean(values)
			heads = append(heads, Head{name, mean})
		}
	}
	return heads
}

// Alone lists the classes that are judged by memory alone.
func (r Results) Alone() (names []string) {
	for _, c := range r.Classes {
		if c.Head == "memory" {
			names = append(names, c.Name)
		}
	}
	return names
}

// Compat is the mean over classes of the values in Details.Compat, undefined ones left out; nil if no class has
// details.
func (r Results) Compat() map[string]metric.Number {
	var totals map[string]metric.Number
	counts := map[string]float64{}
	for _, c := range r.Classes {
		if c.Details == nil {
			continue
		}
		if totals == nil {
			totals = map[string]metric.Number{}
		}
		for name, v := range c.Details.Compat {
			totals[name] += 0 // named, though undefined in all classes
			if v == v {
				totals[name] += v
				counts[name]++
			}
		}
	}
	for name := range totals {
		totals[name] /= metric.Number(counts[name]) // 0/0 is NaN
	}
	return totals
}

// Excluded lists the values that are undefined in a class and therefore left out of the mean, by class.
func (r Results) Excluded() map[string][]string {
	out := map[string][]string{}
	for _, c := range r.Classes {
		for n, v := range c.Values {
			if v != v {
				out[c.Name] = append(out[c.Name], metric.Name(n).String())
			}
		}
	}
	return out
}

// MarshalJSON writes the members described above.
func (r Results) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	put := func(before, what string, v any) error {
		text, err := marshal(v)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		out.WriteString(before)
		out.Write(text)
		return nil
	}
	if err := put(`{"protocol":`, "protocol", r.Protocol); err != nil {
		return nil, err
	}
	out.WriteString(`,"classes":{`)
	seen := map[string]bool{}
	for i, c := range r.Classes {
		what := fmt.Sprintf("class %q", c.Name)
		if seen[c.Name] {
			return nil, fmt.Errorf("%s: have it twice, want it once", what)
		}
		seen[c.Name] = true
		if i > 0 {
			out.WriteByte(',')
		}
		if err := cmp.Or(put("", what, c.Name), put(":", what, c)); err != nil {
			return nil, err
		}
	}
	mean, _ := r.Mean()
	if err := put(`},"mean":`, "mean", mean); err != nil {
		return nil, err
	}
	if heads := r.Heads(); heads != nil {
		means := map[string]metric.Values{}
		for _, h := range heads {
			means[h.Name] = h.Mean
		}
		if err := put(`,"heads":`, "heads", means); err != nil {
			return nil, err
		}
	}
	if compat := r.Compat(); compat != nil {
		if err := put(`,"compat":`, "compat", compat); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// MarshalJSON writes a member of "classes": values, counts and details as members of one object.
func (c Class) MarshalJSON() ([]byte, error) {
	values, err := marshal(c.Values)
	if err != nil {
		return nil, err
	}
	others, err := marshal(struct {
		Counts
		Head    string                   `json:"head,omitempty"`
		Heads   map[string]metric.Values `json:"heads,omitempty"`
		Details *Details                 `json:"details,omitempty"`
	}{c.Counts, c.Head, c.Heads, c.Details})
	values[len(values)-1] = ','
	return append(values, others[1:]...), err
}

// marshal is json.Marshal that leaves <, > and & readable.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// UnmarshalJSON reads what MarshalJSON writes, also in another version. The means follow from the classes, so they are
// not read.
func (r *Results) UnmarshalJSON(data []byte) error {
	var read Results
	classes := false
	err := object(data, func(name string, value json.RawMessage) error {
		switch name {
		case "protocol":
			read.Protocol = value
		case "classes":
			classes = true
			return object(value, func(name string, value json.RawMessage) error {
				c := Class{Name: name}
				unknown, err := c.read(value)
				read.Classes, read.Unknown = append(read.Classes, c), append(read.Unknown, unknown...)
				return err
			})
		case "mean", "heads", "compat":
		default:
			read.Unknown = append(read.Unknown, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(read.Unknown)
	read.Unknown = slices.Compact(read.Unknown)
	if !classes {
		return fmt.Errorf(`results: have members %q, want "classes"`, read.Unknown)
	}
	*r = read
	return nil
}

// read reads a member of "classes" and returns the names that are not known.
func (c *Class) read(data []byte) (unknown []string, err error) {
	if err := json.Unmarshal(data, &c.Values); err != nil {
		return nil, err
	}
	err = object(data, func(name string, value json.RawMessage) error {
		into := map[string]any{"images": &c.Images, "pictures": &c.Images, // the name before
			"defective": &c.Defective, "objects": &c.Objects, "masks": &c.Masks, "head": &c.Head, "heads": &c.Heads, "details": &c.Details}[name]
		switch {
		case into != nil:
			return json.Unmarshal(value, into)
		case !slices.Contains(metric.Names(), name):
			unknown = append(unknown, name)
		}
		return nil
	})
	return unknown, err
}

// object calls member for the members of a JSON object in order. Errors begin with the name of the member.
func object(data []byte, member func(name string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return fmt.Errorf("have %.40q, want an object", data)
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string) // as the names of an object are
		var value json.RawMessage
		err = d.Decode(&value)
		if err == nil && seen[name] {
			err = fmt.Errorf("have it twice, want it once")
		}
		if err == nil {
			seen[name] = true
			err = member(name, value)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	_, err := d.Token()
	return err
}
