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
