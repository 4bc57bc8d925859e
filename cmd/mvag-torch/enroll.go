package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
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
			return enrollClass(c)
		},
	}
}

// enrollAll makes a checkpoint that remembers the training objects of a configuration.
func enrollAll(ctx context.Context, cfg configs.Config) error {
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		return err
	}
	defer listSkipped(data.Source.Skipped)
	sayHoldout(cfg, data)
	if err := train.Enroll(ctx, cfg, data, &trainSink{every: cfg.Train.LogEvery, enrolling: true}); err != nil {
		return err
	}
	return calibrateTrained(ctx, cfg, data)
}

func enrollClass(c *cli.Context) error {
	return fmt.Errorf("later")
}
