package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"mvag-torch/export"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/onnx"
	"mvag-torch/model"
)

// onnxInfo describes an exported ONNX model.
type onnxInfo struct {
	fileInfo
	Data        []dataFile          `json:"data"`           // files of external data; bytes counts them, too
	Constants   int64               `json:"constant_bytes"` // of all initialisers, external ones included
	Nodes       int                 `json:"nodes"`
	Inputs      []valueInfo         `json:"inputs"`
	Outputs     []valueInfo         `json:"outputs"`
	Stages      []valueInfo         `json:"stages"` // on the way, without the outputs
	Description *export.Description `json:"description"`
}

// valueInfo is an input, output or stage.
type valueInfo struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Shape    string `json:"shape"`
	Optional bool   `json:"optional,omitempty"` // an input with a default
	Doc      string `json:"doc,omitempty"`
}

func readONNXInfo(file fileInfo) (described, error) {
	m, err := onnx.ReadModel(file.File)
	if err != nil {
		return nil, whyNotRead(file, err)
	}
	text, ok := m.Metadata[export.MetadataKey]
	if !ok {
		return nil, foreignONNX(file)
	}
	d := &onnxInfo{fileInfo: file, Constants: m.ConstantBytes(), Nodes: len(m.Nodes)}
	d.Kind = "onnx"
	if d.Description, err = export.ParseDescription(text); err != nil {
		return nil, fmt.Errorf("%s: %w", file.File, err)
	}
	if d.SHA256, err = model.FileSHA256(file.File); err != nil {
		return nil, err
	}
	for _, path := range m.DataFiles() {
		if err := d.addData(path); err != nil {
			return nil, err
		}
	}
	defaults := map[string]bool{}
	for _, t := range m.Initializers {
		defaults[t.Name] = true
	}
	list := func(values []onnx.ValueInfo) (out []valueInfo) {
		for _, v := range values {
			out = append(out, valueInfo{v.Name, typeName(v.Type), v.Shape.String(), defaults[v.Name], v.Doc})
		}
		return out
	}
	d.Inputs, d.Outputs, d.Stages = list(m.Inputs), list(m.Outputs), list(slices.DeleteFunc(m.Stages(), func(v onnx.ValueInfo) bool {
		return slices.ContainsFunc(m.Outputs, func(out onnx.ValueInfo) bool { return out.Name == v.Name })
	}))
	return d, nil
}

// errNotONNX is the error of a file that is no ONNX model at all.
var errNotONNX = errors.New("have another kind of file, want an ONNX model")

// foreignONNX is the error of a model that export did not write.
func foreignONNX(file fileInfo) error {
	return fmt.Errorf("%s: have an ONNX model of another program, want one of mvag-torch export", file.File)
}

// whyNotRead is what err, of [onnx.ReadModel], comes from.
func whyNotRead(file fileInfo, err error) error {
	origin, fault := onnx.ReadOrigin(file.File)
	_, own := origin.Metadata[export.MetadataKey]
	var unread *fs.PathError
	switch {
	case errors.As(fault, &unread):
		return err
	case errors.Is(fault, io.ErrUnexpectedEOF) && origin.Producer != "":
		return fmt.Errorf("%s: have %d bytes of an ONNX model, want all of them: the file is cut short", file.File, file.Bytes)
	case fault != nil:
		return fmt.Errorf("%s: %w", file.File, errNotONNX)
	case !own:
		return foreignONNX(file)
	}
	return err
}

// dataFile is a file of external data.
type dataFile struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// addData enters a file of external data.
func (d *onnxInfo) addData(path string) error {
	stat, err := os.Stat(path)
	if err != nil {
		return err
	}
	hash, err := model.FileSHA256(path)
	d.Data, d.Bytes = append(d.Data, dataFile{path, stat.Size(), hash}), d.Bytes+stat.Size()
	return err
}

// typeName is what NumPy and people call an element type.
func typeName(t onnx.DataType) string {
	if t == onnx.Float {
		return "float32"
	}
	return strings.ToLower(t.String())
}

func (d *onnxInfo) lines(line func(key, format string, values ...any)) {
	e := d.Description
	d.fileInfo.lines(line)
	for _, f := range d.Data {
		line("data", "in %s, %s of the size", f.File, machine.Size(f.Bytes))
		line("", "sha256 %s", f.SHA256)
	}
	line("name", "%s", e.Name)
	line("exported", "by mvag-torch %s, opset %d, %d nodes, %s of constants in %s",
		e.Program, e.Opset, d.Nodes, machine.Size(d.Constants), e.Weights)
	line("checkpoint", "iteration %d, %s, sha256 %s", e.Checkpoint.Iteration, e.Checkpoint.Precision, e.Checkpoint.SHA256)
	line("backbone", "%s, layers %v, sha256 %s", e.Backbone.Name, e.Backbone.Layers, e.Backbone.SHA256)
	line("cameras", "%v", e.Input.Cameras)
	line("preprocess", "%s", e.Input.Rule)
	line("head", "%s", e.Head)
}

func (d *onnxInfo) tables(w io.Writer) error {
	if err := writeValues(w, "inputs", d.Inputs); err != nil {
		return err
	}
	if err := writeValues(w, "outputs", d.Outputs); err != nil {
		return err
	}
	if err := d.thresholds(w); err != nil {
		return err
	}
	return writeValues(w, "stages", d.Stages) // last, because they are many
}

// writeValues writes the table of values under a title, if there are any.
func writeValues(w io.Writer, title string, values []valueInfo) error {
	if len(values) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\n%s\n", title)
	for _, v := range values {
		if v.Optional {
			v.Doc += " (optional)"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", v.Name, v.Type, v.Shape, v.Doc)
	}
	return t.Flush()
}

// thresholds writes what judges each class.
func (d *onnxInfo) thresholds(w io.Writer) error {
	classes := d.Description.Classes
	if u := d.Description.Unknown; u != nil {
		other := *u
		other.Name = "(any)"
		classes = append(classes[:len(classes):len(classes)], other)
	}
	var refused []string
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nclass\thead\tobject threshold\timage threshold\tpixel threshold\tbasis\tobjects\tfalse alarms at most")
	for _, c := range classes {
		switch {
		case c.Refused != "":
			refused = append(refused, "not judged: "+c.Refused)
		case c.Object == nil || c.Image == nil || c.Pixel == nil:
			fmt.Fprintf(t, "%s\t%s\tnone\n", c.Name, c.Head)
		default:
			fmt.Fprintf(t, "%s\t%s\t%.4f\t%.4f\t%.4f\t%s\t%d\t%.4f\n",
				c.Name, c.Head, c.Object.Threshold, c.Image.Threshold, c.Pixel.Threshold, c.Object.Basis, c.Object.Objects, c.Object.Rate)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range refused {
		fmt.Fprintln(w, line)
	}
	return nil
}
