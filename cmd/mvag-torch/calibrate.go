package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	checkpointFlag = &cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "checkpoint (`FILE`)"}
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
			"Without PATH, the hold-out of training (train.holdout) is taken; -c says where the data set is now.",
		Flags:  []cli.Flag{checkpointFlag, configFlag, setFlag, patternFlag, classFlag},
		Action: runCalibrate,
	}
}

func runCalibrate(c *cli.Context) error {
	setup, err := readSetup(c, inspect.Options{Uncalibrated: true, Log: logLine})
	if err != nil {
		return err
	}
	defer setup.Close()
	good, source, from, err := goodObjects(c, setup)
	if err != nil {
		return err
	}
	defer listSkipped(source.Skipped)
	return calibrate(c.Context, setup, good, source, from, os.Stdout)
}

// modelPath is the file of -m.
func modelPath(c *cli.Context) (string, error) {
	if c.String("model") == "" {
		return "", usageError{fmt.Errorf("%s: have no model, want -m FILE", c.Command.HelpName)}
	}
	return c.String("model"), nil
}

// openModel opens the file of -m; the caller closes it.
func openModel(c *cli.Context) (*checkpoint.File, error) {
	path, err := modelPath(c)
	if err != nil {
		return nil, err
	}
	return checkpoint.Open(path)
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
	return inspect.Read(path, opt)
}

// Where good objects are from.
const (
	fromHoldout   = "hold-out of training"
	fromOtherData = "good objects of another data set than the training's"
)

// goodObjects are those of the arguments, else the hold-out of training, with the source of their images and a name.
func goodObjects(c *cli.Context, setup *inspect.Setup) ([]dataset.Object, dataset.Source, string, error) {
	files := dataset.NewSource(setup.Config.Data)
	if !c.Args().Present() {
		trained := setup.Trained.Config
		if trained.Train.Holdout == 0 {
			return nil, files, "", usageError{fmt.Errorf("%s: have no hold-out (train.holdout is 0), want PATH… of good images", setup.Path)}
		}
		data, err := dataset.Open(setup.Config.Data)
		if err != nil {
			return nil, files, "", err
		}
		good, from, err := holdoutOf(setup, data)
		return good, data.Source, from, err
	}
	if c.IsSet("config") {
		return nil, files, "", usageError{errors.New("have -c and PATH, want one of them")}
	}
	found, err := collect(c, setup, setup.Config.Data.Classes)
	if err != nil {
		return nil, files, "", err
	}
	if len(found.Rejected) > 0 {
		return nil, files, "", fmt.Errorf("%s: %w", found.Rejected[0].Path, found.Rejected[0].Err)
	}
	return found.Objects, files, "images given to calibrate", nil
}

// holdoutOf returns the hold-out of training among the training objects of data and what to call it. In a data set of
// other training objects nobody knows the hold-out: then all of them are taken, which is said.
func holdoutOf(setup *inspect.Setup, data *dataset.Set) ([]dataset.Object, string, error) {
	trained := setup.Trained
	same := true
	if trained.TrainLists != nil { // else the file is older than the lists, and perhaps than the names of cameras
		if have, want := data.Naming.Cameras, trained.Naming.Cameras; !slices.Equal(have, want) {
			return nil, "", fmt.Errorf("cameras: have %q, want %q as in %s", have, want, setup.Path)
		}
		for class, list := range data.TrainLists() {
			same = same && trained.TrainLists[class] == list
		}
	}
	if same {
		_, holdout := data.HoldOut(trained.Config.Train.Holdout, trained.Config.Seed)
		return holdout, fromHoldout, nil
	}
	fmt.Fprintf(os.Stderr, "the data set has other training objects than that of %s, so that its hold-out is unknown: all %d are taken; "+
		"thresholds are too low if the model was trained on them\n", setup.Path, len(data.Train))
	return data.Train, fromOtherData, nil
}

// collect groups the images of the arguments into objects and says which files it passes over. Images are named as
// those of the training were, or as --pattern says.
func collect(c *cli.Context, setup *inspect.Setup, classes []string) (dataset.Collected, error) {
	naming := setup.Trained.Naming
	if c.IsSet("pattern") {
		naming.Pattern = c.String("pattern")
	}
	found, err := dataset.Collect(c.Args().Slice(), dataset.CollectOptions{
		Naming: naming, Views: setup.Config.Data.Views, Class: c.String("class"), Classes: classes, Stdin: os.Stdin,
	})
	if text := found.PassedOver.String(); err == nil && text != "" {
		fmt.Fprintf(os.Stderr, "passed over: %s\n", text)
	}
	return found, err
}

// calibrate scores good objects, stores the calibration and describes it.
func calibrate(
	ctx context.Context, setup *inspect.Setup, good []dataset.Object, source dataset.Source, from string, w io.Writer,
) error {
	if err := setup.Calibrate(ctx, good, source, from, newImageBar(good, "calibrating")); err != nil {
		return err
	}
	return describe(w, setup.Calibration)
}

// calibrateTrained calibrates a finished run with its hold-out.
func calibrateTrained(ctx context.Context, cfg configs.Config, data *dataset.Set) error {
	path := filepath.Join(train.Folder(cfg), train.CheckpointName)
	_, holdout := data.HoldOut(cfg.Train.Holdout, cfg.Seed)
	if len(holdout) < 2 {
		fmt.Fprintf(os.Stderr, "no thresholds: the hold-out (train.holdout) has %d objects, want at least 2; "+
			"mvag-torch calibrate -m %s takes other good images\n", len(holdout), path)
		return nil
	}
	setup, err := inspect.Read(path, inspect.Options{Config: &cfg, Uncalibrated: true, Log: logLine})
	if err != nil {
		return err
	}
	defer setup.Close()
	return calibrate(ctx, setup, holdout, data.Source, fromHoldout, os.Stderr)
}

// describe prints a calibration: what it rests on and what it guarantees.
func describe(w io.Writer, c *calibration.Calibration) error {
	fmt.Fprintf(w, "calibrated with %d good objects (%d images), %s, for a false-alarm rate of %v\n",
		c.Objects, c.Images, c.Source, c.FalseAlarm)
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
