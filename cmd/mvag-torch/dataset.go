package main

import (
	"fmt"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"mvag-torch/dataset/demo"
)

func datasetCommand() *cli.Command {
	return &cli.Command{
		Name:  "dataset",
		Usage: "data sets",
		Subcommands: []*cli.Command{{
			Name:      "demo",
			Usage:     "render a small multi-view set with defects and masks, in Real-IAD's layout",
			ArgsUsage: "OUT",
			Flags: []cli.Flag{
				&cli.IntFlag{Name: "size", Value: 256, Usage: "side of the pictures in pixels"},
				&cli.IntFlag{Name: "train", Value: 16, Usage: "good training objects of each class"},
				&cli.IntFlag{Name: "good", Value: 8, Usage: "good test objects of each class"},
				&cli.IntFlag{Name: "bad", Value: 12, Usage: "defective test objects of each class"},
				&cli.Int64Flag{Name: "seed", Value: 1, Usage: "another seed, other objects"},
			},
			Action: renderDemo,
		}},
	}
}

func renderDemo(c *cli.Context) error {
	var bar *progressbar.ProgressBar
	progress := func(done, total int) {
		if bar == nil {
			bar = newBar(total, 0, "pictures")
		}
		if bar != nil {
			_ = bar.Set(done)
		}
	}
	summary, err := demo.Render(c.Context, demo.Options{
		Out: c.Args().First(), Size: c.Int("size"), Train: c.Int("train"), Good: c.Int("good"), Bad: c.Int("bad"), Seed: c.Int64("seed"),
	}, progress)
	if err != nil {
		return err
	}
	if summary.Reused {
		fmt.Fprintf(os.Stderr, "%s: is already there\n", c.Args().First())
	}
	for _, class := range summary.Classes {
		fmt.Printf("%-10s  %3d objects  %4d pictures  %3d with defects  %3d views of defective objects that show none\n",
			class.Name, class.Objects, class.Pictures, class.Defective, class.Hidden)
	}
	return nil
}
