package api

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"mvag-torch/inspect"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// none is the value of a score that there is not.
const none = -1

// result is an output of an answer.
type result struct {
	Name       string         `json:"name"`
	Datatype   string         `json:"datatype"`
	Shape      []int          `json:"shape"`
	Parameters map[string]int `json:"parameters,omitempty"`
	Data       any            `json:"data,omitempty"` // nil where it follows as bytes
}

// respond answers a request with the outputs that it wants. With bytes among them, they follow the JSON in the order of
// the outputs.
func respond(w http.ResponseWriter, asked *inference, m line.Model, judged []*line.Judged, wanted []wish) error {
	answer := struct {
		Model   string   `json:"model_name"`
		ID      string   `json:"id,omitempty"`
		Outputs []result `json:"outputs"`
	}{Model: m.Name, ID: asked.ID}
	var tail bytes.Buffer
	for _, x := range wanted {
		data, shape, err := output(x.Name, judged, asked.source().shape[1])
		if err != nil {
			return err
		}
		r := result{Name: x.Name, Datatype: x.Datatype, Shape: shape, Data: data}
		if x.binary {
			before := tail.Len()
			encodeBinary(&tail, data)
			r.Data, r.Parameters = nil, map[string]int{"binary_data_size": tail.Len() - before}
		}
		answer.Outputs = append(answer.Outputs, r)
	}
	head, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	if tail.Len() == 0 {
		return write(w, http.StatusOK, "application/json", head)
	}
	w.Header().Set(headerLength, strconv.Itoa(len(head)))
	return write(w, http.StatusOK, "application/octet-stream", append(head, tail.Bytes()...))
}

// output returns the values of an output, []float32, []bool or []string, and its shape.
func output(name string, judged []*line.Judged, views int) (any, []int, error) {
	n := len(judged)
	switch name {
	case "object_score", "object_calibrated":
		values := make([]float32, n)
		for i, j := range judged {
			values[i] = none
			if j.Decision != line.Failed {
				values[i] = valueOf(j.Verdict, name == "object_calibrated")
			}
		}
		return values, []int{n}, nil
	case "object_defective":
		values := make([]bool, n)
		for i, j := range judged {
			values[i] = isDefective(j.Verdict)
		}
		return values, []int{n}, nil
	case "decision", "record":
		values := make([]string, n)
		for i, j := range judged {
			if values[i] = j.Decision; name == "record" {
				text, err := json.Marshal(j.Record)
				if err != nil {
					return nil, nil, err
				}
				values[i] = string(text)
			}
		}
		return values, []int{n}, nil
	case mapOutput:
		return maps(judged, views)
	}
	return ofImages(name, judged, views), []int{n, views}, nil
}

// ofImages returns an output with an element for each image.
func ofImages(name string, judged []*line.Judged, views int) any {
	values, defective := make([]float32, len(judged)*views), make([]bool, len(judged)*views)
	for i := range values {
		values[i] = none
	}
	for i, j := range judged {
		for _, m := range j.Images {
			at := i*views + max(m.Camera-1, 0)
			values[at], defective[at] = valueOf(m.Verdict, name == "calibrated"), isDefective(m.Verdict)
		}
	}
	if name == "defective" {
		return defective
	}
	return values
}

// valueOf is a score, or its calibrated value.
func valueOf(v *inspect.Verdict, calibrated bool) float32 {
	switch {
	case v == nil:
		return none
	case calibrated:
		return float32(v.Calibrated)
	}
	return float32(v.Score)
}

func isDefective(v *inspect.Verdict) bool { return v != nil && v.Decision == inspect.Defective }

// maps returns the anomaly maps of all images. Those of an object that was judged before are not kept.
func maps(judged []*line.Judged, views int) (any, []int, error) {
	var width, height int
	for _, j := range judged {
		if j.Result == nil {
			return nil, nil, &fault{status: http.StatusConflict, reason: metrics.Form,
				message: "map: the object was judged before under this Idempotency-Key; maps are not kept"}
		}
		for i := range j.Result.Images {
			if m := &j.Result.Images[i]; m.Map != nil {
				width, height = m.MapSize()
			}
		}
	}
	area := width * height
	values := make([]float32, len(judged)*views*area)
	for i := range values {
		values[i] = none
	}
	for i, j := range judged {
		for k := range j.Result.Images {
			m := &j.Result.Images[k]
			copy(values[(i*views+max(m.Camera-1, 0))*area:], m.Map)
		}
	}
	return values, []int{len(judged), views, height, width}, nil
}

// encodeBinary appends values as the extension has them: little-endian, a byte for a bool, 4 bytes of length before a
// text.
func encodeBinary(to *bytes.Buffer, data any) {
	var word [4]byte
	put := func(v uint32) {
		binary.LittleEndian.PutUint32(word[:], v)
		to.Write(word[:])
	}
	switch values := data.(type) {
	case []float32:
		to.Grow(4 * len(values))
		for _, v := range values {
			put(math.Float32bits(v))
		}
	case []bool:
		for _, v := range values {
			b := byte(0)
			if v {
				b = 1
			}
			to.WriteByte(b)
		}
	case []string:
		for _, v := range values {
			put(uint32(len(v)))
			to.WriteString(v)
		}
	}
}
