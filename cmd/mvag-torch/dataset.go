package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"mvag-torch/dataset"
	"mvag-torch/dataset/demo"
	"mvag-torch/internal/machine"
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
				&cli.IntFlag{Name: "size", Value: 256, Usage: "side of the images in pixels"},
				&cli.IntFlag{Name: "train", Value: 16, Usage: "good training objects of each class"},
				&cli.IntFlag{Name: "good", Value: 8, Usage: "good test objects of each class"},
				&cli.IntFlag{Name: "bad", Value: 12, Usage: "defective test objects of each class"},
				&cli.Int64Flag{Name: "seed", Value: 1, Usage: "another seed, other objects"},
			},
			Action: renderDemo,
		}, {
			Name:  "check",
			Usage: "read a whole data set and report what is in it and what is wrong; exit code 1 where training or evaluation would stop",
			Flags: []cli.Flag{
				configFlag, setFlag,
				&cli.BoolFlag{Name: "json", Usage: "print JSON, with every file found wrong"},
				&cli.BoolFlag{Name: "index", Usage: "count what the index says, without reading images"},
			},
			Action: checkDataset,
		}, {
			Name:  "prepare",
			Usage: "decode, resize and crop all images and masks once, into the folder data.cache; goes on where it was stopped",
			Flags: []cli.Flag{
				configFlag, setFlag,
				&cli.StringFlag{Name: "cache", Usage: "the `FOLDER`, instead of data.cache"},
			},
			Action: prepareDataset,
		}},
	}
}

func renderDemo(c *cli.Context) error {
	summary, err := demo.Render(c.Context, demo.Options{
		Out: c.Args().First(), Size: c.Int("size"), Train: c.Int("train"), Good: c.Int("good"), Bad: c.Int("bad"), Seed: c.Int64("seed"),
	}, imageBar())
	if err != nil {
		return err
	}
	if summary.Reused {
		fmt.Fprintf(os.Stderr, "%s: is already there\n", c.Args().First())
	}
	for _, class := range summary.Classes {
		fmt.Printf("%-10s  %3d objects  %4d images  %3d with defects  %3d views of defective objects that show none\n",
			class.Name, class.Objects, class.Images, class.Defective, class.Hidden)
	}
	return nil
}

// imageBar returns a function that shows progress on a terminal.
func imageBar() func(done, total int) {
	var bar *progressbar.ProgressBar
	return func(done, total int) {
		if bar == nil {
			bar = newBar(total, 0, "images")
		}
		if bar != nil {
			_ = bar.Set(done)
		}
	}
}

func checkDataset(c *cli.Context) error {
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	cfg.Data.Cache = "" // the files are what is checked
	open := dataset.Open
	if c.Bool("index") {
		open = dataset.OpenIndex
	}
	set, err := open(cfg.Data)
	if err != nil {
		return err
	}
	found, err := dataset.Check(c.Context, set, set.Source.Fit, dataset.CheckOptions{
		MaskRule: cfg.Eval.MaskRule, MapSize: cfg.Eval.MapSize, Objects: cfg.Train.Objects,
		Workers: cfg.Data.Workers, IndexOnly: c.Bool("index"), Progress: imageBar(),
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(found)
	} else {
		err = found.Table(os.Stdout)
	}
	if err == nil && len(found.Faults) > 0 {
		err = fmt.Errorf("%s: training or evaluation would stop (%d faults): %s", cfg.Data.Root, len(found.Faults), found.Faults[0])
	}
	return err
}

func prepareDataset(c *cli.Context) error {
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	folder := cmp.Or(c.String("cache"), cfg.Data.Cache)
	if folder == "" {
		return usageError{fmt.Errorf("%s: have no folder, want data.cache in the configuration or --cache FOLDER", c.Command.HelpName)}
	}
	cfg.Data.Cache = ""
	set, err := dataset.Open(cfg.Data)
	if err != nil {
		return err
	}
	cfg.Data.Cache = folder
	began, todo := time.Now(), int64(0)
	err = dataset.Prepare(c.Context, cfg.Data, set, dataset.PrepareOptions{
		Begin:    func(p dataset.Preparation) { todo = p.Bytes; announce(p) },
		Progress: imageBar(),
	})
	listSkipped(set.Source.Skipped)
	if err == nil {
		fmt.Printf("%s: ready; %s in %s\n", folder, machine.Size(todo), time.Since(began).Round(time.Second/10))
	}
	return err
}

func announce(p dataset.Preparation) {
	fmt.Fprintf(os.Stderr, "preparing %d images and %d masks, of which %d are there already: %s to be written in %d shards, %s are free\n",
		p.Images, p.Masks, p.Have, machine.Size(p.Bytes), p.Shards, machine.Size(p.Free))
	if p.Replaced > 0 {
		fmt.Fprintf(os.Stderr, "%d shards are replaced, since they are damaged or hold files that have changed\n", p.Replaced)
	}
}
