package main

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/picture"
	"mvag-torch/export"
	"mvag-torch/internal/heatmap"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/regularfile"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/weights"
)

// exportBundle writes a checkpoint and its backbone as one file.
func exportBundle(c *cli.Context, f *checkpoint.File, cfg configs.Config, out string) error {
	if filepath.Ext(out) == ".onnx" {
		return usageError{fmt.Errorf("export: -o: have %q with --format bundle, want another ending, such as .mvag: "+
			"a name in .onnx is taken for an ONNX model", out)}
	}
	opt := export.BundleOptions{Type: safetensors.F32, Program: version}
	switch half, bf16 := c.Bool("half"), c.Bool("bf16"); {
	case half && bf16:
		return usageError{errors.New("export: have --half and --bf16, want one of them")}
	case half:
		opt.Type = safetensors.F16
	case bf16:
		opt.Type = safetensors.BF16
	}
	if err := export.Bundled(f); err != nil {
		return err
	}
	given, err := readLicences(c.StringSlice("licence"))
	if err != nil {
		return err
	}
	backbone, err := model.BackboneOf(f, cfg.Backbone)
	if err != nil {
		return fmt.Errorf("backbone: %w", err)
	}
	opt.Licences = append(licencesOf(backbone, cfg.Backbone.Name), given...)
	if c.Bool("no-thumbnails") {
		fmt.Fprintln(os.Stderr, "thumbnails: left out")
	} else if opt.Thumbnails, opt.Shown, err = thumbnails(f, cfg); err != nil {
		fmt.Fprintf(os.Stderr, "thumbnails: left out: %v\n", oneLine(err))
	}
	b, err := export.Bundle(c.Context, out, f, cfg, backbone, opt)
	if err != nil {
		return err
	}
	return sayBundle(out, f, cfg, b)
}

// sayBundle prints what was written and what to know before it goes elsewhere.
func sayBundle(out string, f *checkpoint.File, cfg configs.Config, b *checkpoint.Bundle) error {
	info, err := os.Stat(out)
	if err != nil {
		return err
	}
	sayRounding(b.Backbone, f)
	for _, l := range b.Licences {
		fmt.Fprintf(os.Stderr, "licence of the backbone: %s, by %s\n", l.Name, l.From)
	}
	if len(b.Licences) == 0 {
		fmt.Fprintf(os.Stderr, "licence of the backbone: none is recorded, neither in %s nor by the name %q: --licence FILE adds its text\n",
			b.Backbone.Source, cfg.Backbone.Name)
	}
	fmt.Fprintf(os.Stderr, "of the paths in the configuration the bundle keeps data.root (%s), where eval and calibrate look for the data set\n",
		cfg.Data.Root)
	_, err = fmt.Printf("%s: %s\n", out, machine.Size(info.Size()))
	return err
}

// sayRounding says how far the values of a backbone have moved, now and in the bundle f that it may come from.
func sayRounding(s checkpoint.Stored, f *checkpoint.File) {
	earlier := 0.
	if f.Bundle != nil {
		earlier = f.Bundle.Backbone.Change
	}
	name := export.TypeName(s.Type)
	switch {
	case s.Change > earlier:
		fmt.Fprintf(os.Stderr, "backbone: rounded to %s: no value has moved by more than %.2g of the largest of its tensor; "+
			"scores differ slightly from those that the thresholds were made with\n", name, s.Change)
	case s.Type != safetensors.F32:
		fmt.Fprintf(os.Stderr, "backbone: every value is exact in %s: scores stay as they are\n", name)
	}
	if earlier > 0 {
		fmt.Fprintf(os.Stderr, "backbone: %s has it rounded, by up to %.2g of the largest value of a tensor\n", f.Path, earlier)
	}
}

// readLicences reads the texts of licences.
func readLicences(paths []string) (list []checkpoint.Licence, err error) {
	const limit = 1 << 20 // bytes
	for _, path := range paths {
		text, err := regularfile.Read(path, limit)
		switch {
		case err != nil:
			return nil, fmt.Errorf("--licence: %w", err)
		case len(text) == 0 || !utf8.Valid(text) || strings.ContainsRune(string(text), 0):
			return nil, fmt.Errorf("%s: have no text, want a licence in UTF-8", path)
		}
		list = append(list, checkpoint.Licence{Name: filepath.Base(path), From: "--licence", Text: string(text)})
	}
	return list, nil
}

// licencesOf are the licences that the file of the backbone records, else that under which the weights of this name were
// published, where the name says whose they are.
func licencesOf(backbone *model.Backbone, name string) []checkpoint.Licence {
	if len(backbone.Licences) > 0 {
		return slices.Clone(backbone.Licences)
	}
	if licence := weights.PublishedLicence(name); licence != "" {
		return []checkpoint.Licence{{Name: licence, From: fmt.Sprintf("backbone.name %s, whose weights were published under it", name)}}
	}
	return nil
}

// thumbnails draws the first training objects of each class as the model sees them; a bundle without its data set keeps
// those it has.
func thumbnails(f *checkpoint.File, cfg configs.Config) ([]byte, *checkpoint.Thumbnail, error) {
	if f.Bundle != nil && f.Bundle.Thumbnails != nil {
		file, err := f.Bytes(checkpoint.Thumbnails)
		return file, f.Bundle.Thumbnails, err
	}
	data, err := dataset.Open(cfg.Data)
	if err != nil {
		return nil, nil, err
	}
	data.UseDepths(f.Info.Depths)
	const wanted, limit = 6, 300_000 // objects in all, bytes
	each := max(1, wanted/max(1, len(data.Classes)))
	var rows [][]*image.RGBA
	var classes []string
	for _, class := range data.Classes {
		n := 0
		for _, o := range data.Train {
			if o.Class != class || n == each {
				continue
			}
			row, err := views(data.Source, o)
			if err != nil {
				return nil, nil, err
			}
			rows, classes, n = append(rows, row), append(classes, class), n+1
		}
	}
	file, sheet, shown, err := picture.Contact(rows, limit)
	if err == nil && shown == 0 {
		err = errors.New("have no training images")
	}
	if err != nil {
		return nil, nil, err
	}
	if shown < len(rows) {
		fmt.Fprintf(os.Stderr, "thumbnails: %d of %d objects are on the sheet, more do not fit %d kB\n", shown, len(rows), limit/1000)
	}
	return file, &checkpoint.Thumbnail{Classes: classes[:shown], Width: sheet.Rect.Dx(), Height: sheet.Rect.Dy()}, nil
}

// views are the images of an object as the model sees them; nil where there is none.
func views(source dataset.Source, o dataset.Object) ([]*image.RGBA, error) {
	fit := source.Fit
	tile, row := image.Pt(fit.Crop.Width(), fit.Crop.Height()), make([]*image.RGBA, len(o.Views))
	for i, v := range o.Views {
		if !v.Present() {
			continue
		}
		planes := make([]uint8, len(fit.Tiles())*3*fit.Crop.Area())
		w, h, err := source.Image(source.At(v, o.Class), planes)
		if err != nil {
			return nil, err
		}
		content := fit.Content(w, h)
		row[i] = heatmap.Image(planes, tile, fit.Tiles(), content, content.Size())
	}
	return row, nil
}

// oneLine is the first line of an error.
func oneLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return cmp.Or(line, "no reason is given")
}
