package onnx

import (
	"errors"
	"fmt"
)

// Origin is what a model file of any program says of itself.
type Origin struct {
	Producer string
	Metadata map[string]string // metadata_props
}

// ReadOrigin reads it. A file that ends early is an io.ErrUnexpectedEOF, with what stands before the end.
func ReadOrigin(path string) (o Origin, err error) {
	data, err := readFile(path)
	if err != nil {
		return o, err
	}
	o.Metadata = map[string]string{}
	p, graph := &parser{}, false
	err = fields(data, func(f field) (err error) {
		switch f.number {
		case 2:
			o.Producer, err = f.text("producer_name")
		case 7:
			graph = true
		case 14:
			err = p.entry(f, "metadata_props", o.Metadata)
		}
		return err
	})
	if err == nil && !graph {
		err = errors.New("have no graph, want an ONNX model")
	}
	if err != nil {
		err = fmt.Errorf("%s: onnx: %w", path, err)
	}
	return o, err
}
