package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval"
	"mvag-torch/eval/picture"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/heatmap"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/team"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/train"
)

func evalCommand() *cli.Command {
	return &cli.Command{
		Name:  "eval",
		Usage: "evaluate a model: print the metrics, write results.json, scores, sheets and report.html to the run folder, of a bundle to NAME-eval beside it; resumes an interrupted evaluation",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "checkpoint or bundle (`FILE`), or bare trainable weights together with -c"},
			configFlag, setFlag,
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the results to `FOLDER` instead of the run folder"},
			&cli.StringFlag{Name: "save-maps", Usage: "also write the anomaly maps of every class to `FOLDER`, for mvag-torch metrics and NumPy"},
			&cli.StringFlag{Name: "format", Value: "table", Usage: "format of the metrics on stdout: " + report.Formats},
		}, teamFlags...),
		Action: inTeam(hasFormat, evaluate),
	}
}

// hasFormat refuses a format that there is not.
func hasFormat(c *cli.Context) error {
	if err := report.Table(io.Discard, report.Results{}, c.String("format")); err != nil {
		return usageError{err}
	}
	return nil
}

func evaluate(c *cli.Context, tm *team.Team) error {
	defer debug.SetGCPercent(debug.SetGCPercent(score.GCPercent))
	if err := hasFormat(c); err != nil {
		return err
	}
	format := c.String("format")
	f, err := openModel(c)
	if err != nil {
		return err
	}
	defer f.Close()
	cfg, err := evalConfig(c, f)
	if err != nil {
		return err
	}
	if f.Info != nil {
		sayUnfinished(f.Path, *f.Info)
	}
	heads, err := calibrationsFor(f, cfg)
	if err != nil {
		return err
	}
	data, err := openFor(f, cfg)
	if err != nil {
		return err
	}
	logLines(data.Remarks())
	if tm.Rank() > 0 {
		return assist(c.Context, cfg, f, data, eval.Options{Heads: heads, Team: tm})
	}
	folder := cmp.Or(c.String("output"), runFolder(cfg, f))
	own, err := makeResults(folder, c.String("save-maps"))
	defer own.release()
	if err != nil {
		return err
	}
	sink := &evalSink{album: picture.NewAlbum(data), gallery: picture.NewGallery(data)}
	opt := eval.Options{Sink: sink, Partial: filepath.Join(folder, "partial.jsonl"), Maps: c.String("save-maps"), Heads: heads, Team: tm}
	outcome, err := evaluateModel(c.Context, cfg, f, data, opt)
	listSkipped(data.Source)
	if err != nil {
		return interrupted(c.Context, err, fmt.Sprintf("%s: %s of %d finished", goesOn, count(len(outcome.Results.Classes), "class"), sink.classes))
	}
	if err := sayOdd(outcome, opt.Maps); err != nil {
		return err
	}
	drawn, err := writeOutcome(folder, outcome, sink, heads)
	if err != nil {
		return err
	}
	if err := eval.Forget(opt.Partial); err != nil {
		return err
	}
	return show(outcome, format, folder, f.Path, drawn)
}

// show prints the metrics of an outcome, writes the report of its folder and says where pictures are.
func show(outcome eval.Outcome, format, folder, model string, drawn []string) error {
	if err := report.Table(os.Stdout, outcome.Results, format); err != nil {
		return err
	}
	written, err := writeReport(folder, model, "")
	if err == nil && format == "table" {
		_, err = fmt.Printf("\nresults  %s\npictures %s\nreport   %s\n", filepath.Join(folder, "results.json"), strings.Join(drawn, " "), written)
	}
	return err
}

// calibrationsFor returns the calibrations of f; none where cfg decides other scores than those that they are of, which
// is said.
func calibrationsFor(f *checkpoint.File, cfg configs.Config) (calibration.Heads, error) {
	heads, err := calibration.ReadHeads(f)
	if err != nil || f.Info == nil {
		return heads, err
	}
	cfg.Adopt(f.Info.Config)
	kinds := []configs.Kind{configs.Features, configs.Scores}
	changed := configs.Changed(configs.Deciding(cfg, kinds...), f.Info.Config, kinds...)
	if changed == nil {
		return heads, nil
	}
	more := ""
	remembered := func(name string) bool { return strings.HasPrefix(name, checkpoint.Memory) }
	if slices.ContainsFunc(f.Names(), remembered) && configs.Diff(cfg, f.Info.Config, configs.Features) != nil {
		more = "; the memory, too, was fitted with the settings of the training"
	}
	fmt.Fprintf(os.Stderr, "%s: %s: thresholds do not apply and decisions are left out%s\n", f.Path, strings.Join(changed, "; "), more)
	return calibration.Heads{}, nil
}

// sayOdd says what is odd about the files of an evaluation and about the folder of its maps, "" for none.
func sayOdd(outcome eval.Outcome, maps string) error {
	logLines(dataset.NotedLines(outcome.Noted))
	sayEmptyMasks(outcome)
	return sayOtherMaps(maps, outcome.Results.Classes)
}

// sayEmptyMasks counts the defective images of each class whose masks mark nothing. Of a class with defective images
// without a mask, no mask counts.
func sayEmptyMasks(outcome eval.Outcome) {
	unmasked := map[string]bool{}
	for _, image := range outcome.Images {
		unmasked[image.Class] = unmasked[image.Class] || image.Unmasked
	}
	for _, c := range outcome.Results.Classes {
		if n := c.Defective - c.Masks; n > 0 && !unmasked[c.Name] {
			fmt.Fprintf(os.Stderr, "class %q: masks of defective images that are empty, perhaps after resize and crop: %d of %d; "+
				"mvag-torch dataset check names them\n", c.Name, n, c.Defective)
		}
	}
}

// sayOtherMaps counts the files in the folder of the maps, "" for none, that are of other classes than those given.
func sayOtherMaps(folder string, classes []report.Class) error {
	if folder == "" {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	own := map[string]bool{}
	suffixes := []string{score.MapsSuffix, score.MasksSuffix, score.TableSuffix}
	for _, c := range classes {
		for _, suffix := range suffixes {
			own[score.FileName(c.Name)+suffix] = true
		}
	}
	other, first := 0, ""
	for _, e := range entries {
		if !own[e.Name()] && slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(e.Name(), suffix) }) {
			other++
			first = cmp.Or(first, e.Name())
		}
	}
	if other > 0 {
		fmt.Fprintf(os.Stderr, "%s: %s of classes that are not of this evaluation, which mvag-torch metrics would read too; the first: %s\n",
			folder, count(other, "file"), first)
	}
	return nil
}

// makeResults makes the folder of the results, and that of the maps unless it is "", and keeps other evaluations out of
// them until they are released.
func makeResults(folder, maps string) (folders, error) {
	for _, dir := range []string{folder, maps} {
		if dir != "" {
			if err := makeFolder(dir); err != nil {
				return nil, err
			}
		}
	}
	own, err := ownFolders("eval.lock", folder, maps)
	if err == nil {
		err = dataset.MarkResults(filepath.Join(folder, "pictures"))
	}
	return own, err
}

// evaluateModel evaluates the model of a file.
func evaluateModel(
	ctx context.Context, cfg configs.Config, f *checkpoint.File, data *dataset.Set, opt eval.Options,
) (outcome eval.Outcome, err error) {
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, cfg, f)
		if err != nil {
			return err
		}
		cfg.Precision = m.Precision
		outcome, err = eval.Run(ctx, cfg, m, data, opt)
		return err
	})
	return outcome, err
}

// assist is an evaluation on another rank than the first, which writes and speaks for all.
func assist(ctx context.Context, cfg configs.Config, f *checkpoint.File, data *dataset.Set, opt eval.Options) error {
	_, err := evaluateModel(ctx, cfg, f, data, opt)
	if errors.Is(err, context.Canceled) { // rank 0 knows, and says so
		err = &team.Failure{Rank: opt.Team.Rank(), Text: "interrupted", Quiet: true, Err: err}
	}
	return err
}

// openFor opens the data set of cfg, whose 16-bit images are read as those that f was trained on.
func openFor(f *checkpoint.File, cfg configs.Config) (*dataset.Set, error) {
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		return nil, err
	}
	if f.Info != nil {
		data.UseDepths(f.Info.Depths)
	}
	sayDepths(data.Source)
	sayTiles(data.Source, data.Test)
	return data, nil
}

// runFolder is the folder of the checkpoint, which may have been copied or renamed, unless name or output are overridden.
// That of a bundle, which has no run around it, is NAME-eval beside it.
func runFolder(cfg configs.Config, f *checkpoint.File) string {
	folder := train.Folder(cfg)
	switch own := f.Info != nil && train.Folder(f.Info.Config) == folder; {
	case own && f.Bundle != nil:
		return strings.TrimSuffix(f.Path, filepath.Ext(f.Path)) + "-eval"
	case own && filepath.Base(f.Path) == train.CheckpointName:
		return filepath.Dir(f.Path)
	}
	return folder
}

// evalConfig returns the configuration of -c, else that of the checkpoint, with --set applied.
func evalConfig(c *cli.Context, f *checkpoint.File) (configs.Config, error) {
	if c.IsSet("config") {
		return loadConfig(c)
	}
	if f.Info == nil {
		return configs.Config{}, usageError{fmt.Errorf("%s: have bare weights, want -c with their configuration", f.Path)}
	}
	return f.Config(c.StringSlice("set")...)
}

// writeOutcome writes results.json, the scores, the gallery and the sheets, and returns the paths of the sheets. Heads
// are the calibrations of the model.
func writeOutcome(folder string, outcome eval.Outcome, sink *evalSink, heads calibration.Heads) ([]string, error) {
	if err := report.Write(filepath.Join(folder, "results.json"), outcome.Results); err != nil {
		return nil, err
	}
	if err := writeScores(folder, outcome.Images, outcome.Objects, outcome.Curves); err != nil {
		return nil, err
	}
	scale := scaleOf(outcome.Images)
	value := func(_ string, v float32) float32 { return scale.At(v) }
	calibrated := heads.Headline() != nil
	if calibrated { // black up to half of the pixel threshold, which is in the middle
		judged := map[string]*calibration.Calibration{}
		for _, c := range outcome.Results.Classes {
			judged[c.Name] = cmp.Or(heads.Of(cmp.Or(c.Head, calibration.Reconstruction)), heads.Headline())
		}
		value = func(class string, v float32) float32 {
			return v/float32(judged[class].Pixel.For(class).Threshold) - 0.5
		}
	}
	exhibits, err := sink.gallery.Exhibits(calibrated, value)
	if err != nil {
		return nil, err
	}
	if err := score.WriteLines(filepath.Join(folder, "gallery.jsonl"), exhibits); err != nil {
		return nil, err
	}
	return sink.album.Write(filepath.Join(folder, "pictures"), score.FileName, scale)
}

// writeScores writes scores.jsonl, objects.jsonl and curves.jsonl.
func writeScores(folder string, images []score.Image, objects []score.Object, curves []score.Curve) error {
	if err := score.WriteLines(filepath.Join(folder, "scores.jsonl"), images); err != nil {
		return err
	}
	if err := score.WriteLines(filepath.Join(folder, "objects.jsonl"), objects); err != nil {
		return err
	}
	return score.WriteLines(filepath.Join(folder, "curves.jsonl"), curves)
}

// scaleOf returns the range of the colours: from the median score of good images to the highest score of all.
func scaleOf(images []score.Image) (scale heatmap.Scale) {
	var good []float32
	for i, image := range images {
		v := float32(image.Score)
		if i == 0 || v > scale.High {
			scale.High = v
		}
		if image.Label == 0 {
			good = append(good, v)
		}
	}
	if len(good) > 0 {
		slices.Sort(good)
		scale.Low = good[len(good)/2]
	}
	return scale
}

// evalSink shows progress and collects what is to be drawn.
type evalSink struct {
	bar      *progressbar.ProgressBar
	classes  int
	restored []string
	class    string
	album    *picture.Album
	gallery  *picture.Gallery
}

func (s *evalSink) Begin(p eval.Plan) {
	s.classes = p.Classes
	fmt.Fprintf(os.Stderr, "evaluating %s of %s; images and scores need up to %s of memory", count(p.Images, "image"), count(p.Classes, "class"), machine.Size(p.Memory))
	if p.Disk > 0 {
		fmt.Fprintf(os.Stderr, ", the maps %s of disk", machine.Size(p.Disk))
	}
	fmt.Fprintln(os.Stderr)
	fmt.Fprintln(os.Stderr, "kernels:", p.Kernels)
	if p.Ignored != nil {
		fmt.Fprintf(os.Stderr, "left aside: %v\n", p.Ignored)
	}
	if len(p.Restored) > 0 {
		fmt.Fprintf(os.Stderr, "resumed: finished before, and not evaluated again: %s\n", quoted(p.Restored))
		s.restored = p.Restored
	}
}

func (s *evalSink) Uncaptured(why error) { uncaptured(why) }

func (s *evalSink) Wants(object *dataset.Object, score float64) bool {
	worst := s.gallery.Wants(object, score)
	return s.album.Wants(object) || worst
}

func (s *evalSink) Batch(class string, done, total int) {
	if done == 0 || s.bar == nil && s.class == "" {
		s.bar = newBar(total, 0, "images")
	}
	if s.class != class && s.bar == nil && !slices.Contains(s.restored, class) {
		fmt.Fprintf(os.Stderr, "evaluating %s (%s in all)\n", class, count(total, "image"))
	}
	s.class = class
	if s.bar != nil {
		s.bar.Describe(class)
		_ = s.bar.Set(done)
	}
}

func (s *evalSink) Draw(object *dataset.Object, views []picture.Tile) {
	s.album.Add(object, views)
	s.gallery.Add(object, views)
}
