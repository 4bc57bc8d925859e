package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"mvag-torch/eval/metric"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
)

func metricsCommand() *cli.Command {
	return &cli.Command{
		Name:      "metrics",
		Usage:     "score the anomaly maps of any program: CLASS.maps.npy, CLASS.masks.npy and, optionally, CLASS.jsonl in a folder",
		ArgsUsage: "MAPS",
		Flags: []cli.Flag{
			&cli.Float64Flag{Name: "top", Value: 0.01, Usage: "fraction of the pixels of a map, the highest, whose mean is the image score if CLASS.jsonl has none"},
			&cli.Float64Flag{Name: "aupro-limit", Value: metric.AUPROLimit, Usage: "false-positive rate up to which AUPRO is integrated"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write results.json, scores.jsonl, objects.jsonl and curves.jsonl to `FOLDER`, for mvag-torch report"},
			&cli.StringFlag{Name: "format", Value: "table", Usage: "format of the metrics on stdout: " + report.Formats},
		},
		Action: scoreMaps,
	}
}

func scoreMaps(c *cli.Context) error {
	defer debug.SetGCPercent(debug.SetGCPercent(score.GCPercent))
	format, top, limit, folder := c.String("format"), c.Float64("top"), c.Float64("aupro-limit"), c.String("output")
	if err := report.Table(io.Discard, report.Results{}, format); err != nil {
		return usageError{err}
	}
	for name, v := range map[string]float64{"top": top, "aupro-limit": limit} {
		if !(v > 0 && v <= 1) {
			return usageError{fmt.Errorf("%s: --%s: have %v, want more than 0, at most 1", c.Command.HelpName, name, v)}
		}
	}
	bar := newBar(1, 0, "images")
	found, err := score.Folder(c.Context, c.Args().First(), score.Options{Top: top, AuproLimit: limit}, func(class string, done, total int) {
		if bar != nil {
			bar.ChangeMax(total)
			bar.Describe(class)
			_ = bar.Set(done)
		}
	})
	if err != nil {
		return err
	}
	for _, note := range found.Notes {
		fmt.Fprintln(os.Stderr, note)
	}
	if folder != "" {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := report.Write(filepath.Join(folder, "results.json"), found.Results); err != nil {
			return err
		}
		if err := writeScores(folder, found.Images, found.Objects, found.Curves); err != nil {
			return err
		}
	}
	return report.Table(os.Stdout, found.Results, format)
}
