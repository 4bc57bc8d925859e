package api

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"

	"mvag-torch/serve/line"
)

// headerLength is the header that says how many bytes of a body are JSON; tensors follow as bytes.
const headerLength = "Inference-Header-Content-Length"

// inference is a request of the Open Inference Protocol.
type inference struct {
	ID         string         `json:"id"`
	Parameters map[string]any `json:"parameters"`
	Inputs     []struct {
		Name       string          `json:"name"`
		Shape      []int           `json:"shape"`
		Datatype   string          `json:"datatype"`
		Parameters tensorOptions   `json:"parameters"`
		Data       json.RawMessage `json:"data"`
	} `json:"inputs"`
	Outputs []struct {
		Name       string        `json:"name"`
		Parameters tensorOptions `json:"parameters"`
	} `json:"outputs"`

	tensors map[string]*input // of Inputs, by name
}

// tensorOptions are the parameters of a tensor that are known; others are ignored, as the protocol wants.
type tensorOptions struct {
	Size   *int64 `json:"binary_data_size"`
	Binary *bool  `json:"binary_data"`
}

// input is a tensor of a request.
type input struct {
	name     string
	shape    []int
	data     []byte   // of UINT8 and BOOL, a byte an element
	elements [][]byte // of BYTES
}

// readInference reads a request, whose tensors may be JSON or bytes.
func (a *API) readInference(w http.ResponseWriter, r *http.Request) (*inference, error) {
	kind, _ := contentType(r)
	length := r.Header.Get(headerLength)
	named := r.Header.Get("Content-Type") != "" // Triton's client for Python does not say
	if named && kind != "application/json" && (kind != "application/octet-stream" || length == "") {
		return nil, foreign(r.Header.Get("Content-Type"), "application/json, or application/octet-stream with "+headerLength)
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	received(w)
	var binary []byte
	if length != "" {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(data) {
			return nil, wrong("%s: have %s, want at most the %d bytes of the body", headerLength, quote(length), len(data))
		}
		data, binary = data[:n], data[n:]
	}
	asked := &inference{tensors: map[string]*input{}}
	if err := json.Unmarshal(data, asked); err != nil {
		return nil, wrong("body: %s", jsonError(err))
	}
	if asked.ID, err = a.name("id", asked.ID); err != nil {
		return nil, err
	}
	if len(asked.Inputs) > len(inputs(0)) {
		return nil, wrong("inputs: have %d, want at most %d", len(asked.Inputs), len(inputs(0)))
	}
	for i := range asked.Inputs {
		if binary, err = asked.read(i, binary); err != nil {
			return nil, err
		}
	}
	if len(binary) > 0 {
		return nil, wrong("body: have %d bytes behind the last input, want none", len(binary))
	}
	return asked, nil
}

// read reads input i, from the bytes that follow the JSON or from the JSON, and returns what is left of the bytes.
func (q *inference) read(i int, bytes []byte) ([]byte, error) {
	in := &q.Inputs[i]
	known := slices.IndexFunc(inputs(0), func(d described) bool { return d.Name == in.Name })
	if known < 0 {
		return nil, wrong("inputs: have %s, want images or files, present, class, object", quote(in.Name))
	}
	if q.tensors[in.Name] != nil {
		return nil, wrong("inputs: have %s twice, want it once", in.Name)
	}
	want := inputs(0)[known]
	if in.Datatype != want.Datatype {
		return nil, wrong("%s: have datatype %s, want %s", in.Name, quote(in.Datatype), want.Datatype)
	}
	if len(in.Shape) != len(want.Shape) {
		return nil, wrong("%s: have %d axes, want %d", in.Name, len(in.Shape), len(want.Shape))
	}
	count, err := elements(in.Shape)
	if err != nil {
		return nil, wrong("%s: %s", in.Name, err)
	}
	t := &input{name: in.Name, shape: in.Shape}
	q.tensors[in.Name] = t
	if size := in.Parameters.Size; size != nil {
		if *size < 0 || *size > int64(len(bytes)) || in.Data != nil {
			return nil, wrong("%s: have binary_data_size %d and %d bytes, want as many, and no data", in.Name, *size, len(bytes))
		}
		err = t.binary(want.Datatype, bytes[:*size], count)
		bytes = bytes[*size:]
	} else {
		err = t.json(want.Datatype, in.Data, count)
	}
	if err != nil {
		return nil, wrong("%s: %s", in.Name, err)
	}
	in.Data = nil // so that its memory is free
	return bytes, t.check(want.Datatype)
}

// elements is the number of elements of a shape.
func elements(shape []int) (int, error) {
	count := 1
	for _, n := range shape {
		if n < 0 || n > math.MaxInt32 || count > math.MaxInt32/max(n, 1) {
			return 0, fmt.Errorf("have shape %v, want sizes from 0 and at most %d elements", shape, math.MaxInt32)
		}
		count *= n
	}
	return count, nil
}

// binary reads the bytes of a tensor. An element of BYTES has its length before it, in 4 bytes, little-endian.
func (t *input) binary(datatype string, data []byte, count int) error {
	if datatype != "BYTES" {
		if len(data) != count {
			return fmt.Errorf("have %d bytes, want %d for shape %v", len(data), count, t.shape)
		}
		t.data = data
		return nil
	}
	for len(data) > 0 {
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return fmt.Errorf("element %d: it ends too early", len(t.elements))
		}
		n := binary.LittleEndian.Uint32(data)
		t.elements = append(t.elements, data[4:4+n])
		data = data[4+n:]
	}
	return t.counted(len(t.elements), count)
}

func (t *input) counted(have, want int) error {
	if have != want {
		return fmt.Errorf("have %d elements, want %d for shape %v", have, want, t.shape)
	}
	return nil
}

// json reads the data of a tensor: an array, or arrays of arrays, in row-major order. Files are in base64, as JSON has
// no bytes.
func (t *input) json(datatype string, data json.RawMessage, count int) error {
	if data == nil {
		return fmt.Errorf("have neither data nor binary_data_size, want one")
	}
	if data[0] != '[' {
		return fmt.Errorf("have data that is no array, want one")
	}
	if datatype == "BYTES" {
		return t.texts(data, count)
	}
	t.data = make([]byte, 0, min(count, len(data)/2+1))
	for token := range tokens(data) {
		value, err := uint64(0), error(nil)
		switch {
		case datatype == "BOOL" && token == "true":
			value = 1
		case datatype == "BOOL" && token == "false":
		default:
			if value, err = strconv.ParseUint(token, 10, 8); err != nil {
				return fmt.Errorf("have %s, want %s", quote(token), map[string]string{"BOOL": "true or false", "UINT8": "0 to 255"}[datatype])
			}
		}
		t.data = append(t.data, byte(value))
	}
	return t.counted(len(t.data), count)
}

// tokens are the leaves of JSON arrays that have been checked, as they are written. They hold no string.
func tokens(data []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start := -1
		for i, c := range data {
			switch c {
			case '[', ']', ',', ' ', '\t', '\r', '\n':
				if start >= 0 && !yield(string(data[start:i])) {
					return
				}
				start = -1
			default:
				if start < 0 {
					start = i
				}
			}
		}
	}
}

// texts reads the elements of BYTES.
func (t *input) texts(data json.RawMessage, count int) error {
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return err
	}
	if err := t.leaves(tree); err != nil {
		return err
	}
	return t.counted(len(t.elements), count)
}

func (t *input) leaves(tree any) error {
	switch v := tree.(type) {
	case string:
		element := []byte(v)
		if t.name == "files" {
			decoded, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return fmt.Errorf("element %d: %w", len(t.elements), err)
			}
			element = decoded
		}
		t.elements = append(t.elements, element)
		return nil
	case []any:
		for _, branch := range v {
			if err := t.leaves(branch); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("element %d: have no string, want one", len(t.elements))
}

// check looks at the values of a tensor.
func (t *input) check(datatype string) error {
	if datatype == "BOOL" && slices.ContainsFunc(t.data, func(v byte) bool { return v > 1 }) {
		return wrong("%s: have a value above 1, want 0 or 1", t.name)
	}
	return nil
}

// checkInputs wants images or files, and images of pixels.
func (q *inference) checkInputs() error {
	images, files := q.tensors["images"], q.tensors["files"]
	if (images == nil) == (files == nil) {
		return wrong("inputs: have %s, want one of them", map[bool]string{true: "both images and files", false: "neither images nor files"}[images != nil])
	}
	if images == nil {
		return nil
	}
	if s := images.shape; s[2] < 1 || s[3] < 1 || s[2] > 1<<16-1 || s[3] > 1<<16-1 || s[4] != 3 {
		return wrong("images: have shape %v, want objects, views, height, width, 3", s)
	}
	return nil
}

// source is the input with the images.
func (q *inference) source() *input {
	if t := q.tensors["files"]; t != nil {
		return t
	}
	return q.tensors["images"]
}

// wanted are the outputs that a request asks for, all but maps where it asks for none, and whether each is given as
// bytes.
func (q *inference) wanted(m line.Model) ([]wish, error) {
	all, binary := outputs(m.Views), false
	if b, ok := q.Parameters["binary_data_output"].(bool); ok {
		binary = b
	}
	var wishes []wish
	for _, o := range q.Outputs {
		i := slices.IndexFunc(all, func(d described) bool { return d.Name == o.Name })
		if i < 0 || slices.ContainsFunc(wishes, func(x wish) bool { return x.Name == o.Name }) {
			return nil, wrong("outputs: have %s, want those of the metadata of the model, each once", quote(o.Name))
		}
		x := wish{all[i], binary}
		if o.Parameters.Binary != nil {
			x.binary = *o.Parameters.Binary
		}
		wishes = append(wishes, x)
	}
	if len(q.Outputs) == 0 {
		for _, d := range all {
			if d.Name != mapOutput {
				wishes = append(wishes, wish{d, binary})
			}
		}
	}
	return wishes, nil
}

// wish is an output that is asked for.
type wish struct {
	described
	binary bool
}
