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
}

// formats lists them.
func formats() string { return strings.Join(slices.Sorted(maps.Keys(exporters)), ", ") }

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "write a trained model as one file that goes elsewhere",
		Description: "A bundle is checkpoint and backbone in one file, which every command takes for -m; it cannot be trained further.\n" +
			"--set data.root=… and --set backbone.weights=… say where data set and backbone are now. mvag-torch info describes it.",
		Flags: []cli.Flag{
			checkpointFlag, setFlag,
			&cli.StringFlag{Name: "format", Usage: "what to write: `FORMAT`, of " + formats()},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FILE`"},
			&cli.BoolFlag{Name: "force", Usage: "replace the file if it exists"},
			&cli.BoolFlag{Name: "half", Usage: "store the backbone as float16: half the size, other rounding"},
			&cli.BoolFlag{Name: "bf16", Usage: "store the backbone as bfloat16, which holds larger values and fewer digits"},
			&cli.StringSliceFlag{Name: "licence", Usage: "put the text of `FILE` in the bundle as a licence of the backbone"},
			&cli.BoolFlag{Name: "no-thumbnails", Usage: "leave out the sheet of training images"},
		},
		Action: runExport,
	}
}

func runExport(c *cli.Context) error {
	format := c.String("format")
	write := exporters[format]
	if write == nil {
		return usageError{fmt.Errorf("export: --format: have %q, want one of %s", format, formats())}
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
