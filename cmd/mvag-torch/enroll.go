package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/internal/machine"
	"mvag-torch/train"
)

func enrollCommand() *cli.Command {
	return &cli.Command{
		Name:      "enroll",
		Usage:     "remember good parts instead of training on them: a model in one pass, or one more class for a model",
		ArgsUsage: "[PATH…]",
		Description: "With -c it makes a checkpoint from the training objects of a configuration, as train does; train --resume goes on\n" +
			"from it. With -m, --class and PATH… it adds a class to a checkpoint, from 10 good parts on; the other classes stay\n" +
			"as they are to the bit. " + pathHelp,
		Flags: []cli.Flag{
			configFlag, setFlag, checkpointFlag, patternFlag,
			&cli.StringFlag{Name: "class", Usage: "`NAME` of the class to add"},
			&cli.BoolFlag{Name: "replace", Usage: "replace the class if the checkpoint has it"},
		},
		Action: func(c *cli.Context) error {
			switch alone := c.IsSet("config"); {
			case alone && (c.IsSet("model") || c.IsSet("class") || c.Bool("replace") || c.IsSet("pattern") || c.Args().Present()):
				return usageError{errors.New("enroll: have -c and -m, --class, --pattern, --replace or PATH, want -c alone or the others")}
			case alone:
				cfg, err := loadConfig(c)
				if err != nil {
					return err
				}
				return enrollAll(c.Context, cfg)
			case !c.IsSet("model") || c.String("class") == "" || !c.Args().Present():
				return usageError{errors.New("enroll: want -c CONFIG, or -m FILE, --class NAME and PATH… with good images")}
			}
			return interrupted(c.Context, enrollClass(c), unchanged)
		},
	}
}

// enrollAll makes a checkpoint that remembers the training objects of a configuration.
func enrollAll(ctx context.Context, cfg configs.Config) error {
	own, err := ownRun(cfg)
	if err != nil {
		return err
	}
	defer own.Release()
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		return err
	}
	defer listSkipped(data.Source)
	logLines(data.Remarks())
	sayHoldout(cfg, data)
	if err := train.Enroll(ctx, cfg, data, &trainSink{every: cfg.Train.LogEvery, enrolling: true}); err != nil {
		return err
	}
	return interrupted(ctx, calibrateTrained(ctx, cfg, data), goesOn)
}

// enrollClass adds a class to a checkpoint.
func enrollClass(c *cli.Context) error {
	class := dataset.Canonical(c.String("class"))
	setup, err := readSetup(c, inspect.Options{Uncalibrated: true, Log: logLine})
	if err != nil {
		return err
	}
	defer setup.Close()
	if err := setup.MayEnroll(class, c.Bool("replace")); err != nil {
		return err
	}
	if err := setup.MayRewrite(); err != nil {
		return err
	}
	found, err := group(c, setup, class, nil, true)
	if err != nil {
		return err
	}
	if len(found.Rejected) > 0 {
		return fmt.Errorf("%s: %w", found.Rejected[0].Path, found.Rejected[0].Err)
	}
	source := dataset.NewSource(setup.Config.Data)
	defer listSkipped(source)
	of := *setup
	_, trained := setup.Trained.TrainLists[class]
	trained = trained && !setup.Memory.Alone(class) && !setup.Memory.Untrained()
	if !trained { // it is remembered anew, whatever was read before
		of.Trained.TrainImages = dataset.FileHashes{}
	}
	good, from, err := sift(c.Context, &of, found.Objects, source, "images given to enroll, each fifth judged with a memory of the others", inspect.MinEnroll)
	if err != nil {
		return err
	}
	sayTiles(source, good)
	own, err := setup.Enroll(c.Context, inspect.Enrollment{
		Class: class, Replace: c.Bool("replace"), Good: good, Source: source, From: from,
		Remembered: newImageBar(good, "remembering"), Judged: newImageBar(good, "calibrating"),
	})
	if err != nil {
		return err
	}
	if err := describe(os.Stdout, own); err != nil {
		return err
	}
	remembered := setup.Memory.Of(class)
	fmt.Printf("%s: remembers %q by %s; all classes take %s\n", setup.Path, class, count(remembered.Objects, "object"), machine.Size(setup.Memory.Bytes()))
	if remembered.Alone {
		fmt.Printf("the model was not trained on %q: it is judged by memory alone\n", class)
	}
	if setup.Judges([]dataset.Object{{}}) != nil {
		fmt.Println("predict and calibrate have to be told the class of their images: --class NAME")
	}
	return nil
}
