package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/train"
)

// Flags and help shared by calibrate and predict.
var (
	checkpointFlag = &cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "checkpoint or bundle (`FILE`)"}
	patternFlag    = &cli.StringFlag{Name: "pattern", Usage: "how files are named, as in {object}_{camera} or {class}-{object}-*; " +
		"by default as the training images"}
	classFlag = &cli.StringFlag{Name: "class", Usage: "class of all the images"}
)

const pathHelp = "PATH is an image, a folder, a glob, a CSV table (path, object, camera, class), or - for paths from standard input.\n"

func calibrateCommand() *cli.Command {
	return &cli.Command{
		Name:      "calibrate",
		Usage:     "derive thresholds from good images that the model was not trained on, and store them in the checkpoint",
		ArgsUsage: "[PATH…]",
		Description: pathHelp +
			"Without PATH, the hold-out of training (train.holdout) is taken; -c says where the data set is now.\n" +
			"With --add, the thresholds rest on the images of PATH besides those that they rest on already; --undo takes the last\n" +
			"addition back.",
		Flags: append([]cli.Flag{checkpointFlag, configFlag, setFlag, patternFlag, classFlag}, additionFlags...),
		Action: func(c *cli.Context) error {
			return interrupted(c.Context, runCalibrate(c), unchanged)
		},
	}
}

func runCalibrate(c *cli.Context) error {
	addition, err := additionOf(c)
	if err != nil {
		return err
	}
	setup, err := readSetup(c, inspect.Options{Uncalibrated: true, Log: logLine})
	if err != nil {
		return err
	}
	defer setup.Close()
	if err := setup.MayRewrite(); err != nil {
		return err
	}
	if addition != "" {
		return runAddition(c, setup, addition)
	}
	good, source, from, err := goodObjects(c, setup)
	if err == nil {
		good, from, err = sift(c.Context, setup, good, source, from, 2)
	}
	if err != nil {
		return err
	}
	defer listSkipped(source)
	sayTiles(source, good)
	return calibrate(c.Context, setup, good, source, from, os.Stdout)
}

// modelPath is the file of -m.
func modelPath(c *cli.Context) (string, error) {
	if c.String("model") == "" {
		return "", usageError{fmt.Errorf("%s: have no model, want -m FILE", c.Command.HelpName)}
	}
	path := c.String("model")
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s: have no such file, want a checkpoint%s", path, checkpoint.OrPrevious(path))
	case err == nil && info.IsDir():
		return "", fmt.Errorf("%s: have a folder, want a file such as %s", path, filepath.Join(path, train.CheckpointName))
	}
	return path, nil
}

// openModel opens the file of -m; the caller closes it.
func openModel(c *cli.Context) (*checkpoint.File, error) {
	path, err := modelPath(c)
	if err != nil {
		return nil, err
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	if err := checkSet(c, f.Bundle != nil); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// checkSet returns an error where --set names a file of weights for a bundle, which has its own.
func checkSet(c *cli.Context, bundle bool) error {
	for _, set := range c.StringSlice("set") {
		if path, _, _ := strings.Cut(set, "="); bundle && strings.TrimSpace(path) == "backbone.weights" {
			return usageError{fmt.Errorf("%s: --set backbone.weights: the bundle has its own backbone, want no other", c.String("model"))}
		}
	}
	return nil
}

// readSetup reads the checkpoint of -m with -c or --set applied; the caller closes it.
func readSetup(c *cli.Context, opt inspect.Options) (*inspect.Setup, error) {
	path, err := modelPath(c)
	if err != nil {
		return nil, err
	}
	opt.Set = c.StringSlice("set")
	if c.IsSet("config") {
		cfg, err := loadConfig(c)
		if err != nil {
			return nil, err
		}
		opt.Config = &cfg
	}
	setup, err := inspect.Read(path, opt)
	if err != nil {
		return nil, err
	}
	if err := checkSet(c, setup.Bundle != nil); err != nil {
		setup.Close()
		return nil, err
	}
	setup.Notes = &dataset.Notes{Depths: true}
	sayUnfinished(path, setup.Trained)
	return setup, nil
}

// sayUnfinished says that a checkpoint is of a training that has not ended.
func sayUnfinished(path string, info checkpoint.Info) {
	enrolled := info.Iteration == 0 && info.Memory != ""
	if want := info.Config.Train.Iterations; info.Iteration < want && !enrolled {
		fmt.Fprintf(os.Stderr, "%s: the training is not finished: this is iteration %d of %d\n", path, info.Iteration, want)
	}
}

// calibrate scores good objects, stores the calibration and describes it.
func calibrate(
	ctx context.Context, setup *inspect.Setup, good []dataset.Object, source dataset.Source, from string, w io.Writer,
) error {
	before := setup.Calibration
	if err := setup.Calibrate(ctx, good, source, from, newImageBar(good, "calibrating")); err != nil {
		return err
	}
	sayReplaced(before, setup.Calibration)
	logNotes(setup)
	return describe(w, setup.Calibration)
}

// logNotes says what was odd about images that were read.
func logNotes(setup *inspect.Setup) {
	if setup.Notes != nil {
		logLines(dataset.NotedLines(setup.Notes.Summary()))
	}
}

// sayReplaced names the classes that had thresholds before, which may be nil, and have none of their own now.
func sayReplaced(before, now *calibration.Calibration) {
	if before == nil {
		return
	}
	kept := now.ClassNames()
	gone := slices.DeleteFunc(before.ClassNames(), func(class string) bool { return slices.Contains(kept, class) })
	if len(gone) > 0 {
		fmt.Fprintf(os.Stderr, "thresholds of %s are gone: those of (any) apply instead; "+
			"to keep thresholds of all classes, give good images of all of them at once\n", quoted(gone))
	}
}

// calibrateTrained calibrates a finished run with its hold-out. The caller has its folder.
func calibrateTrained(ctx context.Context, cfg configs.Config, data *dataset.Set) error {
	path := filepath.Join(train.Folder(cfg), train.CheckpointName)
	_, holdout := data.HoldOut(cfg.Train.Holdout, cfg.Seed)
	setup, err := inspect.Read(path, inspect.Options{Config: &cfg, Uncalibrated: true, Owned: true, Log: func(line string) {
		if !strings.HasPrefix(line, "kernels:") { // the training has said it
			logLine(line)
		}
	}})
	if err != nil {
		return err
	}
	defer setup.Close()
	good, from, err := sift(ctx, setup, holdout, data.Source, fromHoldout, 2)
	var few *tooFew
	if errors.As(err, &few) {
		stay := ""
		if c := setup.Calibration; c != nil {
			stay = fmt.Sprintf("; the thresholds of before stay (%s, %s)", count(c.Objects, "good object"), c.Source)
		}
		fmt.Fprintf(os.Stderr, "no thresholds from the hold-out (train.holdout): %v%s; "+
			"mvag-torch calibrate -m %s takes other good images\n", err, stay, path)
		return nil
	}
	if err != nil {
		return err
	}
	return calibrate(ctx, setup, good, data.Source, from, os.Stderr)
}

// describe prints a calibration: what it rests on and what it guarantees.
func describe(w io.Writer, c *calibration.Calibration) error {
	fmt.Fprintf(w, "calibrated with %s (%s), %s, for a false-alarm rate of %v\n",
		count(c.Objects, "good object"), count(c.Images, "image"), c.Source, c.FalseAlarm)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "class\tobject threshold\timage threshold\tpixel threshold\tbasis\tobjects\t"+
		"false alarms at most\tof 100 good objects (95 %)")
	row := func(name string, get func(calibration.Level) calibration.Scale) {
		o := get(c.Object)
		low, high := o.Alarms(100)
		fmt.Fprintf(t, "%s\t%.4f\t%.4f\t%.4f\t%s\t%d\t%.4f\t%d to %d\n", name,
			o.Threshold, get(c.Image).Threshold, get(c.Pixel).Threshold, o.Basis, o.Objects, o.Rate, low, high)
	}
	for _, class := range c.ClassNames() {
		row(class, func(l calibration.Level) calibration.Scale { return l.For(class) })
	}
	row("(any)", func(l calibration.Level) calibration.Scale { return l.Pooled })
	if err := t.Flush(); err != nil {
		return err
	}
	if pooled := c.Object.Pooled; pooled.Short(c.FalseAlarm) {
		fmt.Fprintf(w, "%d objects are too few for a rate of %v: thresholds are the highest scores seen, "+
			"and the rate that holds is 1/%d\n", pooled.Objects, c.FalseAlarm, pooled.Objects+1)
	}
	return nil
}
