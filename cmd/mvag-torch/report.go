package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"mvag-torch/eval/report/page"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:      "report",
		Usage:     "write the report of a run folder as one HTML file (metrics, curves, gallery, configuration) and print its path",
		ArgsUsage: "RUN",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "checkpoint or bundle (`FILE`) with the thresholds, instead of the run folder's"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write `FILE` instead of report.html in the run folder"},
		},
		Before: func(c *cli.Context) error {
			if c.String("model") == "" || c.Args().Present() {
				return nil
			}
			return usageError{errors.New("report: have -m without RUN, want the folder of results, too: the run folder, " +
				"or what eval wrote, which for -m parts.mvag is parts-eval")}
		},
		Action: prompt(func(c *cli.Context) error {
			written, err := writeReport(c.Args().First(), c.String("model"), c.String("output"))
			if err != nil {
				return err
			}
			_, err = fmt.Println(written)
			return err
		}),
	}
}

// writeReport writes the report of a run folder and returns its path. Empty model and output stand for those of the
// folder. It says where the decisions of the report are not those of predict.
func writeReport(folder, model, output string) (string, error) {
	output = cmp.Or(output, filepath.Join(folder, "report.html"))
	if info, err := os.Stat(output); err == nil && info.IsDir() {
		return "", fmt.Errorf("report: %s: have a folder, want a file", output)
	}
	note, err := page.Write(output, folder, model, version)
	if err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	if note != "" {
		fmt.Fprintf(os.Stderr, "report: %s\n", note)
	}
	return output, nil
}
