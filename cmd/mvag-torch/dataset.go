package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"mvag-torch/dataset"
	"mvag-torch/dataset/demo"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/team"
)

func datasetCommand() *cli.Command {
	all, usual := demo.Classes()
	return &cli.Command{
		Name:  "dataset",
		Usage: "render, check or prepare data sets",
		Subcommands: []*cli.Command{{
			Name:      "demo",
			Usage:     "render a small multi-view data set with defects and masks, in the layout of Real-IAD",
			ArgsUsage: "OUT",
			Flags: []cli.Flag{
				&cli.StringSliceFlag{Name: "classes", Value: cli.NewStringSlice(usual...), Usage: "`NAMES` of " + strings.Join(all, ", ") + " (large images)"},
				&cli.IntFlag{Name: "size", Value: 256, Usage: "side length of the images in pixels; perforated_plate: 2048 x 1536"},
				&cli.IntFlag{Name: "train", Value: 20, Usage: "good training objects per class"},
				&cli.IntFlag{Name: "good", Value: 8, Usage: "good test objects per class"},
				&cli.IntFlag{Name: "bad", Value: 12, Usage: "defective test objects per class"},
				&cli.Int64Flag{Name: "seed", Value: 1, Usage: "random seed; another one gives other objects"},
			},
			Action: renderDemo,
		}, {
			Name:  "check",
			Usage: "read a whole data set, count it and report problems; exit code 1 if training or evaluation would stop",
			Flags: []cli.Flag{
				configFlag, setFlag,
				&cli.BoolFlag{Name: "json", Usage: "print JSON, with every problem"},
				&cli.BoolFlag{Name: "index", Usage: "count what the index says, without reading images"},
			},
			Action: checkDataset,
		}, {
			Name:  "prepare",
			Usage: "decode and fit all images and masks once, into the folder data.cache; continues an interrupted preparation",
			Flags: []cli.Flag{
				configFlag, setFlag,
				&cli.StringFlag{Name: "cache", Usage: "`FOLDER` to use instead of data.cache"},
				processesFlag, waitFlag,
			},
			Action: inTeam(hasConfig, prepareDataset),
		}},
	}
}

func renderDemo(c *cli.Context) error {
	classes := strings.FieldsFunc(strings.Join(c.StringSlice("classes"), ","), func(r rune) bool { return r == ',' || r == ' ' })
	opt := demo.Options{
		Out: c.Args().First(), Classes: classes, Size: c.Int("size"), Train: c.Int("train"), Good: c.Int("good"), Bad: c.Int("bad"), Seed: c.Int64("seed"),
	}
	if err := opt.Validate(); err != nil {
		return usageError{fmt.Errorf("%s: --%w", c.Command.HelpName, err)}
	}
	summary, err := demo.Render(c.Context, opt, imageBar())
	if err != nil {
		return err
	}
	if summary.Reused {
		fmt.Fprintf(os.Stderr, "%s: exists already\n", c.Args().First())
	}
	for _, class := range summary.Classes {
		fmt.Printf("%-16s  %3d objects  %4d images  %3d with defects  %3d of defective objects without visible defect\n",
			class.Name, class.Objects, class.Images, class.Defective, class.Hidden)
	}
	fmt.Fprintf(os.Stderr, "to train on them: mvag-torch train -c quickstart --set data.root=%s; other configurations need data.images: %s\n",
		c.Args().First(), demo.ImageFolder)
	return nil
}

// imageBar returns a progress callback that draws a bar if stderr is a terminal.
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
	cfg.Data.Cache = "" // check the files
	open := dataset.Open
	if c.Bool("index") {
		open = dataset.OpenIndex
	}
	var set *dataset.Set
	err = promptly(c.Context, func() (err error) {
		set, err = open(cfg.Data)
		if err != nil { // perhaps because of the first missing file: all are to be listed
			if all, failed := dataset.OpenIndex(cfg.Data); failed == nil {
				set, err = all, nil
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	sayDepths(set.Source)
	sayTiles(set.Source, slices.Concat(set.Train, set.Test))
	found, err := dataset.Check(c.Context, set, set.Source.Fit, dataset.CheckOptions{
		MaskRule: cfg.Eval.MaskRule, MapSize: cfg.MapSize(), Objects: cfg.Train.Objects,
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
		err = fmt.Errorf("%s: training or evaluation would stop (%s): %s", cfg.Data.Root, count(len(found.Faults), "fault"), found.Faults[0])
	}
	return err
}

func prepareDataset(c *cli.Context, tm *team.Team) error {
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
	logLines(set.Remarks())
	sayDepths(set.Source)
	sayTiles(set.Source, slices.Concat(set.Train, set.Test))
	cfg.Data.Cache = folder
	began, todo := time.Now(), int64(0)
	err = dataset.Prepare(c.Context, cfg.Data, set, dataset.PrepareOptions{
		Begin:    func(p dataset.Preparation) { todo = p.Bytes; announce(p) },
		Progress: imageBar(),
		Part:     tm.Rank(), Parts: tm.Size(),
		Meet: func(mine error) error {
			_, err := tm.Meet(nil, interrupted(c.Context, mine, goesOn))
			return err
		},
	})
	listSkipped(set.Source)
	err = interrupted(c.Context, err, goesOn)
	if err == nil {
		fmt.Printf("%s: ready; %s in %s\n", folder, machine.Size(todo), time.Since(began).Round(time.Second/10))
	}
	return err
}

func announce(p dataset.Preparation) {
	if p.Warning != "" {
		logLine(p.Warning)
	}
	fmt.Fprintf(os.Stderr, "preparing %d images and %d masks; %d of them are in the cache; writing %s in %d shards, %s are free\n",
		p.Images, p.Masks, p.Have, machine.Size(p.Bytes), p.Shards, machine.Size(p.Free))
	if p.Replaced > 0 {
		fmt.Fprintf(os.Stderr, "replacing %d shards that are damaged or contain files that have changed or are of another depth (data.bits)\n", p.Replaced)
	}
}
