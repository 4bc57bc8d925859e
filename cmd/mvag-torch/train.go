package main

import (
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/team"
	"mvag-torch/model/memory"
	"mvag-torch/train"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name:  "train",
		Usage: "train a model; leaves runs/NAME/checkpoint.safetensors and a report of the training",
		Description: "realiad.yaml is the published setting, except that one training object in eight is held out to calibrate\n" +
			"thresholds; --set train.holdout=0 trains on all, as the paper does. docs/format/config.md explains every key.",
		Flags: append([]cli.Flag{
			configFlag, setFlag,
			&cli.BoolFlag{Name: "resume", Usage: "continue from the checkpoint of the run folder, if it has one"},
		}, teamFlags...),
		Action: inTeam(hasParts, trainModel),
	}
}

// trainModel trains on all ranks of tm; what is around it is rank 0's.
func trainModel(c *cli.Context, tm *team.Team) error {
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	if tm.Rank() == 0 { // for all of them
		own, err := ownRun(cfg)
		if err != nil {
			return err
		}
		defer own.Release()
	}
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		return err
	}
	opt := train.Options{Resume: c.Bool("resume"), Team: tm, Program: version}
	sink := &trainSink{every: cfg.Train.LogEvery}
	if tm.Rank() > 0 {
		return train.Run(c.Context, cfg, data, opt, sink)
	}
	logLines(data.Remarks())
	logLines(data.Survey())
	defer listSkipped(data.Source)
	sayHoldout(cfg, data)
	if err := train.Run(c.Context, cfg, data, opt, sink); err != nil {
		sink.interrupt()
		return err
	}
	if err := calibrateTrained(c.Context, cfg, data); err != nil {
		return interrupted(c.Context, err, "interrupted after all iterations, without thresholds; go on with --resume")
	}
	written, err := writeReport(train.Folder(cfg), "", "")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "wrote %s\n", written)
	return nil
}

// sayHoldout says before the training if its hold-out will be too small for thresholds.
func sayHoldout(cfg configs.Config, data *dataset.Set) {
	if _, holdout := data.HoldOut(cfg.Train.Holdout, cfg.Seed); len(holdout) < 2 {
		fmt.Fprintf(os.Stderr, "the hold-out (train.holdout: %v) has %s, want at least 2 for thresholds: "+
			"predict will need mvag-torch calibrate with other good images\n", cfg.Train.Holdout, count(len(holdout), "object"))
	}
}

// trainSink shows a run: a progress bar on a terminal, else a line every n steps.
type trainSink struct {
	mended, told int // damages, and those that Saved has told of

	every     int
	enrolling bool // nothing is trained
	begin     train.Begin
	log       *log.Logger

	encoding     bool                     // features are being computed
	encoded, bar *progressbar.ProgressBar // of objects and of steps; nil without a terminal, and before they are needed
}

func (s *trainSink) Begin(b train.Begin) {
	s.begin, s.log = b, log.New(os.Stderr, "", log.LstdFlags)
	if s.enrolling {
		fmt.Fprintf(os.Stderr, "enrolling on %s: %s of %s, %s; run folder %s\nkernels: %s\n",
			b.Device, count(b.Images, "image"), count(b.Objects, "object"), count(b.Classes, "class"), b.Folder, b.Kernels)
	} else {
		fmt.Fprintf(os.Stderr, "training on %s: %s of %s, %s; %.1f million trainable parameters; run folder %s\n",
			b.Device, count(b.Images, "image"), count(b.Objects, "object"), count(b.Classes, "class"), float64(b.Params)/1e6, b.Folder)
		fmt.Fprintf(os.Stderr, "kernels: %s; prefetched batches take %s of memory\n", b.Kernels, machine.Size(b.Batches))
	}
	if b.Tiles != "" {
		fmt.Fprintln(os.Stderr, b.Tiles)
	}
	if b.Auto != "" {
		fmt.Fprintln(os.Stderr, "auto:", b.Auto)
	}
	if b.Missing > 0 {
		fmt.Fprintf(os.Stderr, "missing and left out: %s of the index; the first: %s\n", count(b.Missing, "image"), b.FirstMissing)
	}
	if b.Repaired != nil {
		fmt.Fprintln(os.Stderr, repaired(b))
	}
	if b.Lost != nil {
		fmt.Fprintln(os.Stderr, b.Lost)
	}
	if b.Start > 0 {
		fmt.Fprintf(os.Stderr, "resumed after %d of %d iterations\n", b.Start, b.Iterations)
	}
	if b.Differs != nil {
		fmt.Fprintf(os.Stderr, "results may differ in the last bits from those of an uninterrupted run: %s\n", strings.Join(b.Differs, "; "))
	}
}

// interrupt ends the line of a bar that is not full, since an error follows.
func (s *trainSink) interrupt() {
	for _, bar := range []*progressbar.ProgressBar{s.encoded, s.bar} {
		if bar != nil && !bar.IsFinished() {
			_ = bar.Exit()
		}
	}
}

func (s *trainSink) Features(f train.Features) {
	if !s.encoding && f.Done < f.Objects {
		s.encoding = true
		where := machine.Size(f.Bytes) + " more in memory"
		switch {
		case f.Memory:
			where = "they are not kept"
		case f.Path != "":
			where = machine.Size(f.Bytes) + " more in " + f.Path
		}
		fmt.Fprintf(os.Stderr, "computing the features of %d of %s: %s\n", f.Objects-f.Done, count(f.Objects, "object"), where)
		if s.encoded = newBar(f.Objects, f.Done, "objects"); s.encoded != nil {
			s.encoded.Describe("features")
		}
	}
	if s.encoded != nil {
		_ = s.encoded.Set(f.Done)
	}
}

func (s *trainSink) Remembered(m *memory.Memory) {
	fmt.Fprintf(os.Stderr, "the memory of good patches (%s) takes %s\n", count(len(m.Classes), "class"), machine.Size(m.Bytes()))
}

// Mended tells of the first, and Saved how many there were.
func (s *trainSink) Mended(damage error) {
	if s.mended++; s.mended == 1 {
		fmt.Fprintf(os.Stderr, "%v; what it held was computed anew\n", damage)
	}
}

func (s *trainSink) Notice(line string) { logLine(line) }

func (s *trainSink) Uncaptured(why error) { uncaptured(why) }

func (s *trainSink) Step(step train.Step) {
	text := fmt.Sprintf("loss %.4f · lr %.2e · %.1f images/s · data %2.0f%% · %s left",
		step.Loss, step.LR, step.Rate, 100*step.DataWait, step.Left.Round(time.Second))
	if s.bar == nil {
		s.bar = newBar(s.begin.Iterations, s.begin.Start, "it")
	}
	if s.bar != nil {
		s.bar.Describe(text)
		_ = s.bar.Set(step.Done)
		return
	}
	if step.Done%s.every == 0 || step.Done == s.begin.Iterations {
		s.log.Printf("iteration %d/%d · %s", step.Done, s.begin.Iterations, text)
	}
}

func (s *trainSink) Skipped(k train.Skipped) {
	s.log.Printf("iteration %d: left out (train.on_nan: skip), %d of %d: loss %v, gradient norm %v, learning rate %.3g; the first tensor that is not finite is %s",
		k.Iteration, k.Count, k.Most, k.Loss, k.GradNorm, k.LR, k.First)
}

func (s *trainSink) Saved(path string, iteration int) {
	if s.mended > max(1, s.told) {
		fmt.Fprintf(os.Stderr, "damaged and computed anew so far: %s\n", count(s.mended, "record"))
		s.told = s.mended
	}
	if s.bar != nil && iteration < s.begin.Iterations {
		return // the bar tells enough
	}
	if s.enrolling {
		fmt.Fprintf(os.Stderr, "wrote %s\n", path)
		return
	}
	s.log.Printf("iteration %d: wrote %s", iteration, path)
}
