package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "print the effective configuration as YAML, itself a valid configuration",
		Description: "docs/format/config.md says what each key means, and what it decides: layout, features, training, scores,\n" +
			"metrics, thresholds or nothing. Keys that decide features or scores must agree for predict and calibrate.",
		Flags: []cli.Flag{configFlag, setFlag},
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			text, err := configs.Marshal(cfg)
			if err != nil {
				return err
			}
			_, err = os.Stdout.Write(text)
			return err
		},
	}
}
