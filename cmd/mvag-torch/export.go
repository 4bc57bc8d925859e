package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/model/checkpoint"
)

// exporters write a model as a file, by the name of their format.
var exporters = map[string]func(c *cli.Context, f *checkpoint.File, cfg configs.Config, out string) error{
	"bundle": exportBundle,
	"onnx":   exportONNX,
}

// formatOf is the one format that takes a flag.
var formatOf = map[string]string{
	"bf16": "bundle", "licence": "bundle", "no-thumbnails": "bundle",
	"opset": "onnx", "head": "onnx", "image": "onnx", "external": "onnx", "verify": "onnx",
}

// formats lists them.
func formats() string { return strings.Join(slices.Sorted(maps.Keys(exporters)), ", ") }

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write a trained model as one file that goes elsewhere",
		ArgsUsage: "[PATH…]",
		Description: "A bundle is checkpoint and backbone in one file, which every command takes for -m; it cannot be trained further.\n" +
			"An ONNX file is for other programs: images as bytes in, anomaly maps, scores and decisions out. --verify compares it\n" +
			"with this program in ONNX Runtime and OpenVINO, where the Python that MVAG_PYTHON names (python3) has them, on random\n" +
			"images and on those of PATH, which are grouped as predict does.\n" +
			"--set data.root=… and --set backbone.weights=… say where data set and backbone are now. mvag-torch info describes it.",
		Flags: append([]cli.Flag{
			checkpointFlag, setFlag, patternFlag, classFlag,
			&cli.StringFlag{Name: "format", Usage: "what to write: `FORMAT`, of " + formats()},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FILE`"},
			&cli.BoolFlag{Name: "force", Usage: "replace the file if it exists"},
			&cli.BoolFlag{Name: "half", Usage: "store the backbone, in an ONNX file all weights, as float16: half the size, other rounding"},
			&cli.BoolFlag{Name: "bf16", Usage: "store the backbone as bfloat16, which holds larger values and fewer digits"},
			&cli.StringSliceFlag{Name: "licence", Usage: "put the text of `FILE` in the bundle as a licence of the backbone"},
			&cli.BoolFlag{Name: "no-thumbnails", Usage: "leave out the sheet of training images"},
		}, onnxFlags...),
		Action: runExport,
	}
}

func runExport(c *cli.Context) error {
	format := c.String("format")
	write := exporters[format]
	if write == nil {
		return usageError{fmt.Errorf("export: --format: have %q, want one of %s", format, formats())}
	}
	if err := checkFlags(c, format); err != nil {
		return err
	}
	model, err := modelPath(c)
	if err != nil {
		return err
	}
	out := c.String("output")
	if err := checkOutput(model, out, c.Bool("force")); err != nil {
		return err
	}
	f, err := openModel(c)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Info == nil {
		return fmt.Errorf("%s: have bare weights, want a checkpoint", f.Path)
	}
	sayUnfinished(f.Path, *f.Info)
	cfg, err := f.Config(c.StringSlice("set")...)
	if err != nil {
		return err
	}
	cfg.Adopt(f.Info.Config)
	decides := []configs.Kind{configs.Layout, configs.Features, configs.Training, configs.Scores}
	if diff := configs.Diff(cfg, f.Info.Config, decides...); len(diff) > 0 {
		return usageError{fmt.Errorf("%s as in %s", diff[0], f.Path)}
	}
	return write(c, f, cfg, out)
}

// checkFlags returns an error for flags and arguments that mean nothing for the format.
func checkFlags(c *cli.Context, format string) error {
	for _, name := range slices.Sorted(maps.Keys(formatOf)) {
		if c.IsSet(name) && formatOf[name] != format {
			return usageError{fmt.Errorf("export: have --%s with --format %s, want it with --format %s", name, format, formatOf[name])}
		}
	}
	for _, name := range []string{"pattern", "class"} {
		if c.IsSet(name) && !c.Args().Present() {
			return usageError{fmt.Errorf("export: have --%s without PATH, whose images it names", name)}
		}
	}
	if c.Args().Present() && !c.Bool("verify") {
		return usageError{fmt.Errorf("export: have PATH %q without --verify, want both or neither", c.Args().First())}
	}
	return nil
}

// checkOutput returns why the file cannot be written, before anything is computed.
func checkOutput(model, out string, force bool) error {
	if out == "" {
		return usageError{errors.New("export: have no output, want -o FILE")}
	}
	to, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		folder, err := os.Stat(filepath.Dir(out))
		if err != nil || !folder.IsDir() {
			return fmt.Errorf("%s: have no folder %q, want one to write to", out, filepath.Dir(out))
		}
		return nil
	}
	if err != nil {
		return err
	}
	from, err := os.Stat(model)
	switch {
	case err != nil:
		return err
	case os.SameFile(from, to):
		return fmt.Errorf("%s: have the same file as -m and -o, want another output", out)
	case !to.Mode().IsRegular():
		return fmt.Errorf("%s: have a folder or special file, want a file to write", out)
	case !force:
		return fmt.Errorf("%s: have a file already, want --force to replace it", out)
	}
	return nil
}
