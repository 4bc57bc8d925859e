package inspect

import (
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/npy"
)

// OutputFolders are the folders in Output.Folder.
var OutputFolders = []string{"heat", "overlay", "maps"}

// Output is a folder of drawn maps, which exists. It is safe for concurrent use with different results.
type Output struct {
	Folder string
	Maps   bool // write raw maps, too
}

// Write writes heat/, overlay/ and, if asked for, maps/ of a result and enters the names of the files in its lines. They
// begin with number, which tells results apart. Errors name the file.
func (o Output) Write(number int, r *Result) error {
	for j := range r.Images {
		m := &r.Images[j]
		if m.Verdict == nil {
			continue
		}
		name := fmt.Sprintf("%06d_", number)
		if m.Camera > 0 {
			name += fmt.Sprintf("C%d_", m.Camera)
		}
		base := filepath.Base(m.Path)
		name += strings.TrimSuffix(base, filepath.Ext(base))
		heat, overlay := m.Draw()
		m.HeatFile, m.OverlayFile = "heat/"+name+".png", "overlay/"+name+".png"
		err := o.write(m.HeatFile, func(w io.Writer) error { return png.Encode(w, heat) })
		if err == nil {
			err = o.write(m.OverlayFile, func(w io.Writer) error { return png.Encode(w, overlay) })
		}
		if err == nil && o.Maps {
			m.MapFile = "maps/" + name + ".npy"
			err = o.write(m.MapFile, func(w io.Writer) error {
				_, err := w.Write(npy.Encode(m.Map, m.judge.size.Height(), m.judge.size.Width()))
				return err
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o Output) write(name string, write func(io.Writer) error) error {
	path := filepath.Join(o.Folder, filepath.FromSlash(name))
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err // without the folder that was named, which is not made again when a person has removed it
	}
	if err := dataset.MarkResults(filepath.Dir(path)); err != nil {
		return err
	}
	return atomicfile.Write(path, write)
}
