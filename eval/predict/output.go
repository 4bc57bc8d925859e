package predict

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mvag-torch/dataset"
	"mvag-torch/eval/picture"
)

// Output is a folder of pictures: heat/, overlay/ and, where raw maps are
// asked for, maps/.
type Output struct {
	folder string
	maps   bool
	count  int
}

// NewOutput makes the folders.
func NewOutput(folder string, maps bool) (*Output, error) {
	names := []string{"heat", "overlay"}
	if maps {
		names = append(names, "maps")
	}
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return nil, err
		}
	}
	return &Output{folder: folder, maps: maps}, nil
}

// pictures writes the files of one line and enters their names.
func (o *Output) pictures(line *Line, view dataset.View, fit dataset.Fit, size int, scores, values []float32, mask []bool) error {
	o.count++
	base := filepath.Base(view.Path)
	name := fmt.Sprintf("%06d_%s", o.count, strings.TrimSuffix(base, filepath.Ext(base)))
	line.Heat, line.Overlay = "heat/"+name+".png", "overlay/"+name+".png"
	if err := picture.Write(o.path(line.Heat), picture.Heat(values, size)); err != nil {
		return err
	}
	drawn, err := picture.Overlay(view, fit, size, values, mask)
	if err != nil { // it was readable a moment ago
		line.Overlay, line.Error = "", err.Error()
		return nil
	}
	if err := picture.Write(o.path(line.Overlay), drawn); err != nil || !o.maps {
		return err
	}
	line.Map = "maps/" + name + ".npy"
	return os.WriteFile(o.path(line.Map), npy(scores, size), 0o644)
}

func (o *Output) path(name string) string { return filepath.Join(o.folder, filepath.FromSlash(name)) }

// npy is a map [size, size] as a NumPy file, format 1.0.
func npy(scores []float32, size int) []byte {
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", size, size)
	const magic = "\x93NUMPY\x01\x00"
	for (len(magic)+2+len(head)+1)%64 != 0 {
		head += " "
	}
	head += "\n"
	out := binary.LittleEndian.AppendUint16([]byte(magic), uint16(len(head)))
	out = append(out, head...)
	out, _ = binary.Append(out, binary.LittleEndian, scores) // fixed-size numbers always encode
	return out
}
