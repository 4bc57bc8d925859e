package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/urfave/cli/v2"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/printable"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
)

func infoCommand() *cli.Command {
	return &cli.Command{
		Name:      "info",
		Usage:     "describe a checkpoint, a bundle, bare weights or an exported ONNX model",
		ArgsUsage: "FILE",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			&cli.StringFlag{Name: "thumbnails", Usage: "write the thumbnails of a bundle to `PNG`"},
			&cli.BoolFlag{Name: "force", Usage: "replace the file of --thumbnails if it exists"},
		},
		Action: prompt(runInfo),
	}
}

// fileInfo is what every file of a model has.
type fileInfo struct {
	File   string `json:"file"`
	Kind   string `json:"kind"` // checkpoint, bundle, weights or onnx
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// described is what info prints.
type described interface {
	lines(line func(key, format string, values ...any)) // facts
	tables(w io.Writer) error                           // what is longer
}

func runInfo(c *cli.Context) error {
	path, sheet := c.Args().First(), c.String("thumbnails")
	stat, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: have no such file, want a checkpoint, a bundle, weights or an .onnx file%s", path, checkpoint.OrPrevious(path))
	case err != nil:
		return err
	case stat.IsDir():
		return fmt.Errorf("%s: have a folder, want a file such as %s", path, filepath.Join(path, "checkpoint.safetensors"))
	case !stat.Mode().IsRegular():
		return fmt.Errorf("%s: have a special file, want a regular file", path)
	}
	file := fileInfo{File: path, Bytes: stat.Size()}
	read := readModelInfo
	if filepath.Ext(path) == ".onnx" {
		read = readONNXInfo
	}
	d, err := read(file)
	if errors.Is(err, checkpoint.ErrKind) || errors.Is(err, errNotONNX) {
		return fmt.Errorf("%w; info takes a checkpoint, a bundle, safetensors weights, or an .onnx file of mvag-torch export", err)
	}
	if err != nil {
		return err
	}
	if sheet != "" {
		if err := writeThumbnails(path, sheet, c.Bool("force")); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(d)
	}
	return writeInfo(os.Stdout, d)
}

// writeInfo writes the facts as text, a line a fact, and then the tables.
func writeInfo(w io.Writer, d described) error {
	w = visible{w}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	d.lines(func(key, format string, values ...any) { // of which a file has some, whoever made it
		fmt.Fprintf(t, "%s\t%s\n", key, printable.Line(fmt.Sprintf(format, values...)))
	})
	if err := t.Flush(); err != nil {
		return err
	}
	return d.tables(w)
}

// visible writes text, of which a terminal obeys nothing but line feeds and tabs.
type visible struct{ to io.Writer }

func (v visible) Write(p []byte) (int, error) {
	text := bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, p)
	if _, err := v.to.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// lines are the facts of any file.
func (f fileInfo) lines(line func(key, format string, values ...any)) {
	line("file", "%s, %s", f.File, f.Kind)
	line("size", "%s (%d bytes)", machine.Size(f.Bytes), f.Bytes)
	line("sha256", "%s", f.SHA256)
}

// readModelInfo describes a safetensors file.
func readModelInfo(file fileInfo) (described, error) {
	f, err := checkpoint.Open(file.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if file.SHA256, err = model.FileSHA256(file.File); err != nil {
		return nil, err
	}
	if f.Info == nil {
		return describeWeights(file, f), nil
	}
	return describeModel(file, f)
}

// writeThumbnails writes the sheet of a bundle to another file and says so. One that exists is replaced where force says
// so.
func writeThumbnails(bundle, path string, force bool) error {
	f, err := checkpoint.Open(bundle)
	if err != nil {
		return fmt.Errorf("--thumbnails: %w", err)
	}
	defer f.Close()
	if f.Bundle == nil || f.Bundle.Thumbnails == nil {
		return fmt.Errorf("--thumbnails: %s: have none in it, want a bundle that has them", bundle)
	}
	from, err := os.Stat(bundle)
	if err != nil {
		return err
	}
	switch to, err := os.Stat(path); {
	case err == nil && os.SameFile(from, to):
		return fmt.Errorf("--thumbnails: %s: have the bundle itself, want another file", path)
	case err == nil && !to.Mode().IsRegular():
		return fmt.Errorf("--thumbnails: %s: have a folder or special file, want a file to write", path)
	case err == nil && !force:
		return fmt.Errorf("--thumbnails: %s: have a file already, want --force to replace it", path)
	}
	data, err := f.Bytes(checkpoint.Thumbnails)
	if err != nil {
		return err
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err == nil {
		shown := f.Bundle.Thumbnails
		fmt.Fprintf(os.Stderr, "wrote %s: thumbnails of %s, %d x %d pixels\n", path, count(len(shown.Classes), "object"), shown.Width, shown.Height)
	}
	return err
}

// weightsInfo describes bare weights.
type weightsInfo struct {
	fileInfo
	Tensors  int            `json:"tensors"`
	Elements int64          `json:"elements"`
	Types    map[string]int `json:"types"`   // tensors of each
	Encoder  bool           `json:"encoder"` // it looks like weights of an encoder
}

func describeWeights(file fileInfo, f *checkpoint.File) described {
	d := &weightsInfo{fileInfo: file, Types: map[string]int{}}
	d.Kind = "weights"
	for _, name := range f.Names() {
		dtype, shape, _ := f.File.Info(name)
		n := int64(1)
		for _, size := range shape {
			n *= size
		}
		d.Tensors, d.Elements = d.Tensors+1, d.Elements+n
		d.Types[string(dtype)]++
		d.Encoder = d.Encoder || strings.HasSuffix(name, "cls_token")
	}
	return d
}

func (d *weightsInfo) lines(line func(key, format string, values ...any)) {
	d.fileInfo.lines(line)
	line("tensors", "%s; %.1f million elements", listTypes(d.Types), float64(d.Elements)/1e6)
	if d.Encoder {
		line("hint", "these look like the weights of an encoder: mvag-torch backbone info describes them")
	} else {
		line("hint", "bare trainable weights have no configuration: mvag-torch eval takes them with -c")
	}
}

func (d *weightsInfo) tables(io.Writer) error { return nil }
