package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

func predictCommand() *cli.Command {
	return &cli.Command{
		Name:      "predict",
		Usage:     "find defects in pictures: a line of JSON each with scores, decision and regions; heat maps and overlays in -o",
		ArgsUsage: "PATH…",
		Description: "PATH is a picture, a folder, a glob, a CSV table (path, object, camera, class), or - for paths from standard input.\n" +
			"Without -o the lines go to standard output and nothing is drawn.",
		Flags: []cli.Flag{
			checkpointFlag, setFlag, patternFlag, classFlag,
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FOLDER` for predictions.jsonl, heat/ and overlay/"},
			&cli.BoolFlag{Name: "maps", Usage: "write raw maps, too: float32 .npy files in maps/"},
		},
		Action: runPredict,
	}
}

func runPredict(c *cli.Context) error {
	if c.Bool("maps") && c.String("output") == "" {
		return usageError{fmt.Errorf("%s: have --maps without -o, want a folder for them", c.Command.HelpName)}
	}
	f, cfg, err := openTrained(c)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Calibration() == "" {
		return fmt.Errorf("%s: have no calibration, want one: mvag-torch calibrate -m %s PATH… with good pictures", f.Path, f.Path)
	}
	scales, err := calibration.Parse(f.Calibration())
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	found, err := collect(c, cfg, scales.ClassNames())
	if err != nil {
		return err
	}
	w, err := newLines(c.String("output"))
	if err != nil {
		return err
	}
	var out *inspect.Output
	if folder := c.String("output"); folder != "" {
		if out, err = inspect.NewOutput(folder, c.Bool("maps")); err != nil {
			return w.close(err)
		}
	}
	for _, r := range found.Rejected {
		if err := w.write(inspect.Refused(r)); err != nil {
			return w.close(err)
		}
	}
	if err := w.close(predictAll(c, cfg, f, found.Objects, inspect.NewJudge(cfg, scales, out), w)); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d pictures of %d objects; %d objects are defective\n", w.count, len(found.Objects), w.defective)
	if w.failed > 0 {
		return fmt.Errorf("%d of %d pictures failed; the first: %s", w.failed, w.count, w.first)
	}
	return nil
}

// predictAll scores objects and writes their lines.
func predictAll(c *cli.Context, cfg configs.Config, f *checkpoint.File, objects []dataset.Object, judge *inspect.Judge, w *lines) error {
	if len(objects) == 0 {
		return nil
	}
	progress, done := newPredictBar(objects, "predicting"), 0
	return tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, cfg, f)
		if err != nil {
			return err
		}
		return inspect.Each(c.Context, cfg, m.Model, dataset.Source{Fit: dataset.NewFit(cfg.Data)}, objects, func(o inspect.Scored) error {
			list, err := judge.Lines(o)
			if err != nil {
				return err
			}
			if len(list) > 0 && list[0].Whole != nil && list[0].Whole.Decision == inspect.Defective {
				w.defective++
			}
			done += len(list)
			progress(done)
			return w.write(list...)
		})
	})
}

// lines writes JSON Lines to predictions.jsonl in a folder or to stdout, and
// counts.
type lines struct {
	file                     io.WriteCloser
	w                        *bufio.Writer
	count, failed, defective int // pictures, pictures, objects
	first                    string
}

func newLines(folder string) (*lines, error) {
	if folder == "" {
		return &lines{w: bufio.NewWriter(os.Stdout)}, nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(folder, "predictions.jsonl"))
	if err != nil {
		return nil, err
	}
	return &lines{file: file, w: bufio.NewWriter(file)}, nil
}

// write writes lines and leaves nothing in memory: who follows the file sees
// each object whole.
func (l *lines) write(list ...inspect.Line) error {
	enc := json.NewEncoder(l.w)
	enc.SetEscapeHTML(false)
	for _, line := range list {
		l.count++
		if line.Error != "" {
			l.failed++
			if l.failed == 1 {
				l.first = line.Path + ": " + line.Error
			}
		}
		if err := enc.Encode(line); err != nil {
			return fmt.Errorf("%s: %w", line.Path, err)
		}
	}
	return l.w.Flush()
}

// close closes the file; err, or what closing gives, is returned.
func (l *lines) close(err error) error {
	if l.file == nil {
		return err
	}
	if closed := l.file.Close(); err == nil {
		err = closed
	}
	return err
}
