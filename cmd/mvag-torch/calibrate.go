package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/train"
)

var (
	checkpointFlag = &cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "checkpoint (`FILE`)"}
	patternFlag    = &cli.StringFlag{Name: "pattern", Usage: "how files are named, as in {object}_{camera} or {class}-{object}-*; by default Real-IAD's names, else single pictures"}
	classFlag      = &cli.StringFlag{Name: "class", Usage: "class of all the pictures"}
)

func calibrateCommand() *cli.Command {
	return &cli.Command{
		Name:      "calibrate",
		Usage:     "derive thresholds from good pictures that the model was not trained on, and store them in the checkpoint",
		ArgsUsage: "[PATH…]",
		Description: "PATH is a picture, a folder, a glob, a CSV table (path, object, camera, class), or - for paths from standard input.\n" +
			"Without one, the training objects that the run held out (train.holdout) are taken; -c says where they are now.",
		Flags: []cli.Flag{checkpointFlag, configFlag, setFlag, patternFlag, classFlag},
		Action: func(c *cli.Context) error {
			f, cfg, err := openTrained(c)
			if err != nil {
				return err
			}
			defer f.Close()
			good, pictures, source, err := goodObjects(c, cfg, f)
			if err != nil {
				return err
			}
			result, err := calibrate(c.Context, cfg, f, good, pictures, source)
			listSkipped(pictures.Skipped)
			if err != nil {
				return err
			}
			return describe(os.Stdout, result)
		},
	}
}

// openModel opens the file of -m; the caller closes it.
func openModel(c *cli.Context) (*checkpoint.File, error) {
	if c.String("model") == "" {
		return nil, usageError{fmt.Errorf("%s: have no model, want -m FILE", c.Command.HelpName)}
	}
	return checkpoint.Open(c.String("model"))
}

// openTrained opens the checkpoint of -m and returns its configuration, or that
// of -c, with --set applied. What decides scores has to be as it was trained.
func openTrained(c *cli.Context) (*checkpoint.File, configs.Config, error) {
	f, err := openModel(c)
	if err != nil {
		return nil, configs.Config{}, err
	}
	cfg, err := trainedConfig(c, f)
	if err != nil {
		f.Close()
		return nil, cfg, err
	}
	return f, cfg, nil
}

func trainedConfig(c *cli.Context, f *checkpoint.File) (configs.Config, error) {
	if f.Info == nil {
		return configs.Config{}, fmt.Errorf("%s: have bare weights, want a checkpoint", f.Path)
	}
	cfg, err := evalConfig(c, f)
	if err != nil {
		return cfg, err
	}
	if diff := configs.Diff(cfg, f.Info.Config, configs.Features, configs.Scores); len(diff) > 0 {
		return cfg, usageError{fmt.Errorf("%s as in %s", diff[0], f.Path)}
	}
	return cfg, nil
}

// goodObjects are those of the arguments, else those that training held out,
// where their pictures are taken from, and a word for them.
func goodObjects(c *cli.Context, cfg configs.Config, f *checkpoint.File) ([]dataset.Object, dataset.Source, string, error) {
	files := dataset.NewSource(cfg.Data)
	if !c.Args().Present() {
		trained := f.Info.Config
		if trained.Train.Holdout == 0 {
			return nil, files, "", usageError{fmt.Errorf("%s: have no held-out objects (train.holdout is 0), want PATH… of good pictures", f.Path)}
		}
		data, err := dataset.Open(cfg.Data)
		if err != nil {
			return nil, files, "", err
		}
		_, held := data.HoldOut(trained.Train.Holdout, trained.Seed)
		return held, data.Source, heldOut, nil
	}
	if c.IsSet("config") {
		return nil, files, "", usageError{errors.New("have -c and PATH, want one of them")}
	}
	found, err := collect(c, cfg, cfg.Data.Classes)
	if err != nil {
		return nil, files, "", err
	}
	if len(found.Rejected) > 0 {
		return nil, files, "", fmt.Errorf("%s: %w", found.Rejected[0].Path, found.Rejected[0].Err)
	}
	return found.Objects, files, "pictures given to calibrate", nil
}

// collect groups the images of the arguments into objects, and says what it passes over.
func collect(c *cli.Context, cfg configs.Config, classes []string) (dataset.Collected, error) {
	found, err := dataset.Collect(c.Args().Slice(), dataset.CollectOptions{
		Naming: dataset.Naming{Pattern: c.String("pattern")}, Views: cfg.Data.Views, Class: c.String("class"), Classes: classes, Stdin: os.Stdin,
	})
	if text := found.PassedOver.String(); err == nil && text != "" {
		fmt.Fprintf(os.Stderr, "passed over: %s\n", text)
	}
	return found, err
}

const heldOut = "held-out training objects"

// calibrate scores good objects with the model of f and stores the outcome
// there.
func calibrate(ctx context.Context, cfg configs.Config, f *checkpoint.File, good []dataset.Object, pictures dataset.Source, source string) (*calibration.Calibration, error) {
	progress := newPredictBar(good, "calibrating")
	var result *calibration.Calibration
	err := tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, cfg, f)
		if err != nil {
			return err
		}
		result, err = inspect.Calibrate(ctx, cfg, m.Model, pictures, good, source, progress)
		return err
	})
	if err != nil {
		return nil, err
	}
	text, err := result.Marshal()
	if err != nil {
		return nil, err
	}
	return result, f.SetCalibration(text)
}

// newPredictBar returns what shows progress over the pictures of objects: a bar
// on a terminal.
func newPredictBar(objects []dataset.Object, title string) func(done int) {
	total := 0
	for i := range objects {
		for _, v := range objects[i].Views {
			if v.Present() {
				total++
			}
		}
	}
	bar := (*progressbar.ProgressBar)(nil)
	if total > 0 {
		bar = newBar(total, 0, "pictures")
	}
	if bar == nil {
		fmt.Fprintf(os.Stderr, "%s: %d pictures of %d objects\n", title, total, len(objects))
		return func(int) {}
	}
	bar.Describe(title)
	return func(done int) { _ = bar.Set(done) }
}

// calibrateTrained calibrates a finished run with what it held out.
func calibrateTrained(ctx context.Context, cfg configs.Config, data *dataset.Set) error {
	path := filepath.Join(train.Folder(cfg), train.CheckpointName)
	_, held := data.HoldOut(cfg.Train.Holdout, cfg.Seed)
	if len(held) < 2 {
		fmt.Fprintf(os.Stderr, "no thresholds: %d training objects are held out (train.holdout), want at least 2; mvag-torch calibrate -m %s takes other good pictures\n",
			len(held), path)
		return nil
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	result, err := calibrate(ctx, cfg, f, held, data.Source, heldOut)
	if err != nil {
		return fmt.Errorf("calibration: %w", err)
	}
	return describe(os.Stderr, result)
}

// describe prints a calibration: what it rests on and what it guarantees.
func describe(w io.Writer, c *calibration.Calibration) error {
	fmt.Fprintf(w, "calibrated with %d good objects (%d pictures), %s, for a false-alarm rate of %v\n", c.Objects, c.Pictures, c.Source, c.FalseAlarm)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "class\tobject\tpicture\tpixel\tbasis\tobjects\trate of objects at most\talarms in 100 good objects (95 %)")
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
		fmt.Fprintf(w, "%d objects are too few for a rate of %v: thresholds are the highest scores seen, and the rate that holds is 1/%d\n",
			pooled.Objects, c.FalseAlarm, pooled.Objects+1)
	}
	return nil
}
