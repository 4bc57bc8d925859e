package inspect

import (
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/npy"
)

// Output is a folder of drawn maps: heat/, overlay/ and, where raw maps are asked for, maps/. It is safe for concurrent
// use with different results.
type Output struct {
	folder string
	maps   bool
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

// Write writes the files of a result and enters their names in its lines. The names begin with number, which tells
// results apart. Errors name the file.
func (o *Output) Write(number int, r *Result) error {
	for j := range r.Images {
		m := &r.Images[j]
		if m.Verdict == nil {
			continue
		}
		base := filepath.Base(m.Path)
		name := fmt.Sprintf("%06d_%s", number, strings.TrimSuffix(base, filepath.Ext(base)))
		if m.Camera > 0 {
			name = fmt.Sprintf("%06d_C%d_%s", number, m.Camera, strings.TrimSuffix(base, filepath.Ext(base)))
		}
		m.Heat, m.Overlay = "heat/"+name+".png", "overlay/"+name+".png"
		heat, overlay := m.Draw()
		for path, img := range map[string]*image.RGBA{m.Heat: heat, m.Overlay: overlay} {
			if err := o.write(path, func(w io.Writer) error { return png.Encode(w, img) }); err != nil {
				return err
			}
		}
		if !o.maps {
			continue
		}
		m.Map = "maps/" + name + ".npy"
		err := o.write(m.Map, func(w io.Writer) error {
			_, err := w.Write(npy.Encode(m.Scores, m.judge.size, m.judge.size))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *Output) write(name string, write func(io.Writer) error) error {
	return atomicfile.Write(filepath.Join(o.folder, filepath.FromSlash(name)), write)
}
