package main

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/export"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/onnx"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// onnxFlags are those of the format alone.
var onnxFlags = []cli.Flag{
	&cli.IntFlag{Name: "opset", Value: onnx.MinOpset, Usage: fmt.Sprintf("onnx: operator set `N`, %d to %d", onnx.MinOpset, onnx.MaxOpset)},
	&cli.StringFlag{Name: "head", Usage: "onnx: judge by `HEAD`, reconstruction, memory or both, in place of inspect.head"},
	&cli.StringFlag{Name: "image", Usage: "onnx: all images have `WIDTHxHEIGHT` pixels; wanted with data.fit pad and tiles"},
	&cli.BoolFlag{Name: "external", Usage: "onnx: weights in a second file, FILE.data, as are those above 2 GB"},
	&cli.BoolFlag{Name: "verify", Usage: "onnx: compare the file with this program in ONNX Runtime and OpenVINO, on random images and those of PATH…"},
}

// onnxFiles are the files of an export.
type onnxFiles struct{ model, description, data string }

// newONNXFiles names the files beside a model.
func newONNXFiles(model string) (onnxFiles, error) {
	base, ok := strings.CutSuffix(model, ".onnx")
	if !ok || base == "" || strings.HasSuffix(base, "/") {
		return onnxFiles{}, usageError{fmt.Errorf("export: -o: have %q, want a name that ends in .onnx", model)}
	}
	return onnxFiles{model, base + ".json", onnx.DataPath(model)}, nil
}

// exportONNX writes a checkpoint as a graph for other programs.
func exportONNX(c *cli.Context, f *checkpoint.File, cfg configs.Config, out string) error {
	files, err := newONNXFiles(out)
	if err != nil {
		return err
	}
	for _, path := range []string{files.description, files.data} {
		if err := checkOutput(f.Path, path, c.Bool("force")); err != nil {
			return err
		}
	}
	if err := export.CheckONNX(cfg); err != nil {
		return err
	}
	opt := export.Options{Opset: c.Int("opset"), Half: c.Bool("half"), Program: version}
	if cfg, err = onnxSettings(c, cfg, &opt); err != nil {
		return err
	}
	sayPrecision(f.Info.Config, cfg)
	v, err := newVerifier(c, f, cfg, opt)
	if err != nil {
		return err
	}
	defer v.close()
	heads, err := calibration.ReadHeads(f)
	if err != nil {
		return err
	}
	var m *onnx.Model
	var d *export.Description
	err = tensor.Run(func(s *tensor.Scope) error {
		t, err := model.Open(s, cfg, f)
		if err == nil {
			m, d, err = export.ONNX(t, cfg, *f.Info, heads, opt)
		}
		return err
	})
	if err == nil {
		err = export.Interrupted(c.Context)
	}
	if err == nil {
		err = files.write(m, d, c.Bool("external"))
	}
	if err != nil {
		return err
	}
	if err := files.say(os.Stdout, d); err != nil {
		return err
	}
	sayLeftOut(f.Path, d)
	return v.verify(c.Context, files.model, d)
}

// onnxSettings checks the flags and applies them to cfg.
func onnxSettings(c *cli.Context, cfg configs.Config, opt *export.Options) (configs.Config, error) {
	if opt.Opset < onnx.MinOpset || opt.Opset > onnx.MaxOpset {
		return cfg, usageError{fmt.Errorf("export: --opset: have %d, want %d to %d", opt.Opset, onnx.MinOpset, onnx.MaxOpset)}
	}
	if text := c.String("image"); text != "" {
		var rest string
		n, _ := fmt.Sscanf(text+" .", "%dx%d %s", &opt.Image.X, &opt.Image.Y, &rest)
		if n != 3 || rest != "." || min(opt.Image.X, opt.Image.Y) < 1 || max(opt.Image.X, opt.Image.Y) > 1<<16 {
			return cfg, usageError{fmt.Errorf("export: --image: have %q, want WIDTHxHEIGHT in pixels, as in 1920x1080", text)}
		}
	}
	switch squash := cfg.Data.Fit == "squash"; {
	case squash && opt.Image != image.Point{}:
		return cfg, usageError{errors.New("export: have --image with data.fit squash, want none: all images come to one shape")}
	case !squash && opt.Image == image.Point{}:
		return cfg, usageError{fmt.Errorf("export: have no --image, want the size WIDTHxHEIGHT that all images have: "+
			"with data.fit %s maps depend on it", cfg.Data.Fit)}
	}
	if head := c.String("head"); head != "" {
		cfg.Inspect.Head = head
		if err := cfg.Validate(); err != nil {
			return cfg, usageError{fmt.Errorf("export: --head: have %q, want reconstruction, memory or both", head)}
		}
	}
	cfg.Precision = "fp32"
	return cfg, nil
}

// sayPrecision says where an export computes more exactly than the run did.
func sayPrecision(run, cfg configs.Config) {
	if run.Precision != cfg.Precision {
		fmt.Fprintf(os.Stderr, "precision: the run computed in %s, the export computes in %s: scores differ a little, "+
			"and thresholds are those of the run\n",
			run.Precision, cfg.Precision)
	}
}

// write writes all files, or leaves none.
func (f onnxFiles) write(m *onnx.Model, d *export.Description, external bool) error {
	text, err := d.Marshal()
	if err != nil {
		return err
	}
	if err := onnx.WriteFile(f.model, m, external); err != nil {
		return err
	}
	err = atomicfile.Write(f.description, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		return errors.Join(err, remove(f.model), remove(f.data), remove(f.description)) // that of an earlier model
	}
	return nil
}

// remove removes a file that there may be.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// say prints what was written and how each class is judged.
func (f onnxFiles) say(w io.Writer, d *export.Description) error {
	size := int64(0)
	names := f.model
	for _, path := range []string{f.model, f.data} {
		info, err := os.Stat(path)
		switch {
		case err == nil:
			size += info.Size()
		case path == f.model || !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err == nil && path == f.data {
			names += " and " + f.data
		}
	}
	fmt.Fprintf(w, "%s: %s, operator set %d, %s weights; %s of %d x %d pixels, maps of %d x %d (width x height)\n",
		names, machine.Size(size), d.Opset, d.Weights,
		count(d.Input.Views, "view"), d.Input.Width, d.Input.Height, d.Map.Width, d.Map.Height)
	fmt.Fprintf(w, "%s: how to prepare images, classes and thresholds; the model has it, too\n", f.description)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "number\tclass\thead\tobject threshold\timage threshold\tbasis\tfalse alarms at most")
	row := func(number, name string, c export.Class) {
		fmt.Fprintf(t, "%s\t%s\t", number, name)
		switch {
		case c.Head == "":
			fmt.Fprintln(t, "none\tnot judged\t\t\t")
		case c.Object == nil || c.Image == nil:
			fmt.Fprintf(t, "%s\tnone\tnone\t\t\n", c.Head)
		default:
			fmt.Fprintf(t, "%s\t%.4f\t%.4f\t%s\t%.4f\n",
				c.Head, c.Object.Threshold, c.Image.Threshold, c.Object.Basis, c.Object.Rate)
		}
	}
	for i, c := range d.Classes {
		row(fmt.Sprint(i), c.Name, c)
	}
	if d.Unknown != nil {
		row("any other", "(unknown)", *d.Unknown)
	}
	return t.Flush()
}

// sayLeftOut says what the checkpoint has no basis for.
func sayLeftOut(path string, d *export.Description) {
	all := d.Classes
	if d.Unknown != nil {
		all = append(all[:len(all):len(all)], *d.Unknown)
	}
	calibrated := false
	for _, c := range all {
		calibrated = calibrated || c.Object != nil
		if c.Refused != "" {
			fmt.Fprintf(os.Stderr, "not judged, and so never good: %s\n", c.Refused)
		}
	}
	if !calibrated {
		fmt.Fprintf(os.Stderr, "%s has no calibration: the outputs value, object_value, defective and object_defective are left out; "+
			"mvag-torch calibrate -m %s PATH… makes thresholds from good images\n", path, path)
	}
}
