package inspect

import (
	"encoding/binary"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"mvag-torch/dataset"
	"mvag-torch/internal/heatmap"
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
	if err := writePNG(o.path(line.Heat), heatmap.Heat(values, size)); err != nil {
		return err
	}
	planes := make([]uint8, 3*fit.Crop*fit.Crop)
	if _, _, err := fit.Image(view, planes); err != nil { // it was readable a moment ago
		line.Overlay, line.Error = "", err.Error()
		return nil
	}
	if err := writePNG(o.path(line.Overlay), heatmap.Overlay(heatmap.Image(planes, fit.Crop, size), values, mask)); err != nil || !o.maps {
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

func writePNG(path string, img image.Image) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	err = png.Encode(f, img)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
