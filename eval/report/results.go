// Package report holds the results of an evaluation, writes and reads them as
// results.json, and prints them as a table.
//
// results.json is an object of four members: "protocol", whatever describes
// how the numbers came about; "classes", an object with one member for each
// class in the order of evaluation; "mean", the plain mean over classes; and
// "compat", the means of the numbers computed as other programs do, which is
// absent if the classes have no details.
// Numbers are fractions under the names of metric.Name, null where undefined:
//
//	{
//	  "protocol": {"views": 5, …},
//	  "classes": {
//	    "gear": {"I-AUROC": 0.97, …, "mAD": 0.83, "S-AUROC": 0.98, …, "pictures": 170, "defective": 56, "objects": 34, "masks": 56,
//	             "details": {"counts": {…}, "thresholds": {…}, "compat": {…}, "views": {…}, "defects": {…}}}
//	  },
//	  "mean": {"I-AUROC": 0.97, …},
//	  "compat": {"AUPRO (Dinomaly, 200 thresholds)": 0.86, …}
//	}
package report

import (
	"bytes"
	"encoding/json"
	"fmt"

	"mvag-torch/eval/metric"
)

// Results are the results of one evaluation.
type Results struct {
	// Protocol says how the numbers came about; it is written by
	// encoding/json, and is a json.RawMessage after reading.
	Protocol any
	// Classes are in the order of evaluation; their names differ.
	Classes []Class
}

// Class is one class.
type Class struct {
	Name   string
	Values metric.Values
	// Pictures and Objects count what was evaluated, Defective the pictures
	// labelled anomalous, and Masks those with anomalous pixels left in their
	// mask after resizing and cropping.
	Pictures, Defective, Objects, Masks int
	// Details is nil in results that have none.
	Details *Details
}

// Details are what a class has besides its headline numbers. Maps are written
// in the order of their keys.
type Details struct {
	// Counts of pixels, regions and odd pictures.
	Counts map[string]int64 `json:"counts"`
	// Thresholds are the scores at which "score >= threshold" reaches F1max.
	Thresholds map[string]metric.Number `json:"thresholds"`
	// Compat are numbers by other rules than those of the protocol, under names
	// that say which.
	Compat map[string]metric.Number `json:"compat"`
	// Views are the numbers of one camera's pictures by themselves, Defects
	// those of one defect code among all that is good.
	Views   map[string]metric.Values `json:"views"`
	Defects map[string]metric.Values `json:"defects"`
}

// count is one of the integers of a class.
type count struct {
	name  string
	value *int
}

// counts lists the integers in the order of the file.
func (c *Class) counts() []count {
	return []count{
		{"pictures", &c.Pictures}, {"defective", &c.Defective}, {"objects", &c.Objects}, {"masks", &c.Masks},
	}
}

// Mean is the mean over classes; skipped says in how many of them each number
// is undefined and therefore left out.
func (r Results) Mean() (mean metric.Values, skipped [metric.Count]int) {
	values := make([]metric.Values, len(r.Classes))
	for i, c := range r.Classes {
		values[i] = c.Values
	}
	return metric.Mean(values)
}

// Compat is the mean over classes of the numbers in Details.Compat, undefined
// ones left out; nil if no class has details.
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

// Excluded lists the numbers that are undefined in a class and therefore left
// out of the mean, by class.
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
	protocol, err := marshal(r.Protocol)
	if err != nil {
		return nil, fmt.Errorf("protocol: %w", err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `{"protocol":%s,"classes":{`, protocol)
	seen := map[string]bool{}
	for i, c := range r.Classes {
		if seen[c.Name] {
			return nil, fmt.Errorf("class %q: have it twice, want it once", c.Name)
		}
		seen[c.Name] = true
		if i > 0 {
			out.WriteByte(',')
		}
		if err := c.marshalTo(&out); err != nil {
			return nil, fmt.Errorf("class %q: %w", c.Name, err)
		}
	}
	values, _ := r.Mean()
	mean, err := marshal(values)
	if err != nil {
		return nil, fmt.Errorf("mean: %w", err)
	}
	fmt.Fprintf(&out, `},"mean":%s`, mean)
	if compat := r.Compat(); compat != nil {
		text, err := marshal(compat)
		if err != nil {
			return nil, fmt.Errorf("compat: %w", err)
		}
		fmt.Fprintf(&out, `,"compat":%s`, text)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// marshalTo writes one member of "classes".
func (c *Class) marshalTo(out *bytes.Buffer) error {
	name, err := marshal(c.Name)
	if err != nil {
		return err
	}
	values, err := marshal(c.Values)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s:%s", name, bytes.TrimSuffix(values, []byte("}")))
	for _, n := range c.counts() {
		fmt.Fprintf(out, `,%q:%d`, n.name, *n.value)
	}
	if c.Details != nil {
		details, err := marshal(c.Details)
		if err != nil {
			return fmt.Errorf("details: %w", err)
		}
		fmt.Fprintf(out, `,"details":%s`, details)
	}
	out.WriteByte('}')
	return nil
}

// marshal is json.Marshal that leaves <, > and & readable.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// UnmarshalJSON reads what MarshalJSON writes. Members that are missing, named
// twice or unknown, and numbers that are no fractions, are errors that name
// them. The means follow from the classes, so their values are not used.
func (r *Results) UnmarshalJSON(data []byte) error {
	var read Results
	var mean metric.Values
	found := 0
	err := object(data, func(name string, value json.RawMessage) error {
		if name != "compat" {
			found++
		}
		switch name {
		case "protocol":
			read.Protocol = value
			return nil
		case "classes":
			return read.readClasses(value)
		case "mean":
			return mean.UnmarshalJSON(value)
		case "compat":
			return json.Unmarshal(value, &map[string]metric.Number{})
		}
		return fmt.Errorf("have an unknown name, want protocol, classes, mean or compat")
	})
	if err != nil {
		return err
	}
	if found != 3 {
		return fmt.Errorf("results: have %d members, want protocol, classes and mean", found)
	}
	*r = read
	return nil
}

func (r *Results) readClasses(data []byte) error {
	return object(data, func(name string, value json.RawMessage) error {
		c := Class{Name: name}
		if err := c.read(value); err != nil {
			return err
		}
		r.Classes = append(r.Classes, c)
		return nil
	})
}

// read takes the integers out and leaves the rest to metric.Values.
func (c *Class) read(data []byte) error {
	members := map[string]json.RawMessage{}
	err := object(data, func(name string, value json.RawMessage) error {
		members[name] = value
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range c.counts() {
		value, ok := members[n.name]
		if !ok {
			return fmt.Errorf("%s: have nothing, want a count", n.name)
		}
		if err := json.Unmarshal(value, n.value); err != nil || *n.value < 0 || value[0] == 'n' { // null sets nothing
			return fmt.Errorf("%s: have %.40q, want a count", n.name, value)
		}
		delete(members, n.name)
	}
	if value, ok := members["details"]; ok {
		d := json.NewDecoder(bytes.NewReader(value))
		d.DisallowUnknownFields()
		if err := d.Decode(&c.Details); err != nil {
			return fmt.Errorf("details: %w", err)
		}
		delete(members, "details")
	}
	rest, err := json.Marshal(members)
	if err != nil {
		return err
	}
	if err := c.Values.UnmarshalJSON(rest); err != nil {
		return err
	}
	for i, v := range c.Values {
		if v < 0 || v > 1 {
			return fmt.Errorf("%v: have %v, want a fraction", metric.Name(i), v)
		}
	}
	return nil
}

// object calls member for the members of a JSON object in order. Errors are
// given the name of the member.
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
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if seen[name] {
			return fmt.Errorf("%q: have it twice, want it once", name)
		}
		seen[name] = true
		if err := member(name, value); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	_, err := d.Token()
	return err
}
