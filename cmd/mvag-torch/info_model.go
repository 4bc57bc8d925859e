package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"mvag-torch/configs"
	"mvag-torch/export"
	"mvag-torch/internal/machine"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
	"mvag-torch/model/weights"
)

// modelInfo describes a checkpoint or a bundle.
type modelInfo struct {
	fileInfo
	Name       string           `json:"name"`
	Iteration  int              `json:"iteration"`
	Iterations int              `json:"iterations"` // of a whole training
	Skipped    []int            `json:"skipped"`    // iterations that changed nothing (train.on_nan); null where none did
	Classes    []string         `json:"classes"`    // trained on; null in files of older versions
	Images     *int             `json:"images"`     // read by training and enroll; null in files of older versions
	Views      int              `json:"views"`
	Cameras    []string         `json:"cameras"` // names, C1 and so on where they are numbered
	Elements   int64            `json:"elements"`
	Precision  string           `json:"precision"`
	Input      inputInfo        `json:"input"`
	Backbone   encoderInfo      `json:"backbone"`
	Memory     []rememberedInfo `json:"memory"`
	MemorySize int64            `json:"memory_bytes"`
	Head       string           `json:"head"`      // that is wanted: inspect.head
	Heads      []headInfo       `json:"heads"`     // that are calibrated
	Additions  []additionInfo   `json:"additions"` // to the calibration; null where the file does not tell
	Data       string           `json:"data_root"`
	Bundle     *bundleInfo      `json:"bundle"` // null in a checkpoint

	heads calibration.Heads
}

type inputInfo struct {
	Fit    string       `json:"fit"`
	Resize configs.Size `json:"resize"`
	Crop   configs.Size `json:"crop"`
}

type encoderInfo struct {
	Name    string `json:"name"`
	Mode    string `json:"mode"`
	Layers  []int  `json:"layers"`  // null: those of the archive
	Weights string `json:"weights"` // the file
	SHA256  string `json:"sha256"`  // of the file that the model was trained with
}

type rememberedInfo struct {
	Class   string `json:"class"`
	Objects int    `json:"objects"`
	Alone   bool   `json:"alone"` // not trained on
}

// headInfo is what a calibration says.
type headInfo struct {
	Head       string          `json:"head"`
	FalseAlarm float64         `json:"false_alarm"`
	Source     string          `json:"source"`
	Objects    int             `json:"objects"`
	Images     int             `json:"images"`
	Classes    []thresholdInfo `json:"classes"`
	Any        thresholdInfo   `json:"any"` // of objects of another class
}

type thresholdInfo struct {
	Class   string  `json:"class,omitempty"`
	Object  float64 `json:"object_threshold"`
	Image   float64 `json:"image_threshold"`
	Pixel   float64 `json:"pixel_threshold"`
	Basis   string  `json:"basis"`
	Objects int     `json:"objects"`
	Rate    float64 `json:"false_alarms_at_most"`
	Of100   [2]int  `json:"of_100_good_objects"` // 95 % interval
}

// additionInfo is good objects that were added to the calibration at once.
type additionInfo struct {
	Number  int       `json:"number"`
	Time    time.Time `json:"time"`
	Source  string    `json:"source"`
	Objects int       `json:"objects"`
}

// bundleInfo is what a bundle says of itself, and the size of its encoder.
type bundleInfo struct {
	*checkpoint.Bundle
	BackboneElements int64 `json:"backbone_elements"`
}

// describeModel describes a checkpoint or a bundle.
func describeModel(file fileInfo, f *checkpoint.File) (described, error) {
	cfg := f.Info.Config
	d := &modelInfo{fileInfo: file, Name: cfg.Name, Iteration: f.Info.Iteration, Iterations: cfg.Train.Iterations, Views: cfg.Data.Views, Skipped: f.Info.Skipped,
		Cameras: f.Info.Naming.CameraNames(cfg.Data.Views), Precision: cfg.Precision, Input: inputInfo{cfg.Data.Fit, cfg.Data.Resize, cfg.Data.Crop},
		Head: cfg.Inspect.Head, Data: cfg.Data.Root}
	d.Kind = "checkpoint"
	d.Backbone = encoderInfo{cfg.Backbone.Name, cfg.Backbone.Mode, nil, cfg.Backbone.Weights, f.Info.BackboneSHA256}
	if arch, err := weights.ParseArch(cfg.Backbone.Name); err == nil && cfg.Backbone.Mode != "module" {
		if d.Backbone.Layers, _, err = model.Layers(cfg, arch); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	remembered, err := memory.Read(f)
	if err == nil {
		d.heads, err = calibration.ReadHeads(f)
	}
	if err == nil {
		err = d.addAdditions(f)
	}
	if err != nil {
		return nil, err
	}
	if f.Info.TrainLists != nil && !remembered.Untrained() {
		d.Classes = slices.Sorted(maps.Keys(f.Info.TrainLists))
	}
	if f.Info.TrainImages != nil {
		n := len(f.Info.TrainImages)
		d.Images = &n
	}
	d.MemorySize = remembered.Bytes()
	for _, name := range remembered.Names() {
		c := remembered.Classes[name]
		d.Memory = append(d.Memory, rememberedInfo{name, c.Objects, remembered.Alone(name) || remembered.Untrained()})
	}
	d.addHeads()
	d.addElements(f)
	return d, nil
}

// addAdditions lists what was added to the calibrations.
func (d *modelInfo) addAdditions(f *checkpoint.File) error {
	samples, err := calibration.ReadSamples(f)
	if samples == nil {
		return err
	}
	d.Additions = []additionInfo{}
	for _, a := range samples.Additions {
		d.Additions = append(d.Additions, additionInfo{a.Number, a.Time, a.Source, len(a.Objects)})
	}
	return nil
}

// addHeads lists the calibrations.
func (d *modelInfo) addHeads() {
	for _, head := range []string{calibration.Reconstruction, calibration.Memory, calibration.Both} {
		c := d.heads.Of(head)
		if c == nil {
			continue
		}
		of := func(class string, get func(calibration.Level) calibration.Scale) thresholdInfo {
			o := get(c.Object)
			low, high := o.Alarms(100)
			return thresholdInfo{class, o.Threshold, get(c.Image).Threshold, get(c.Pixel).Threshold, o.Basis, o.Objects, o.Rate, [2]int{low, high}}
		}
		h := headInfo{Head: head, FalseAlarm: c.FalseAlarm, Source: c.Source, Objects: c.Objects, Images: c.Images}
		for _, class := range c.ClassNames() {
			h.Classes = append(h.Classes, of(class, func(l calibration.Level) calibration.Scale { return l.For(class) }))
		}
		h.Any = of("", func(l calibration.Level) calibration.Scale { return l.Pooled })
		d.Heads = append(d.Heads, h)
	}
}

// addElements counts the elements of the trainable weights and, in a bundle, of the encoder.
func (d *modelInfo) addElements(f *checkpoint.File) {
	if f.Bundle != nil {
		d.Kind, d.Bundle = "bundle", &bundleInfo{Bundle: f.Bundle}
	}
	for _, name := range f.Names() {
		_, shape, _ := f.File.Info(name)
		n := int64(1)
		for _, size := range shape {
			n *= size
		}
		switch {
		case d.Bundle != nil && strings.HasPrefix(name, checkpoint.Backbone):
			d.Bundle.BackboneElements += n
		case f.Trainable(name):
			d.Elements += n
		}
	}
}

func (d *modelInfo) lines(line func(key, format string, values ...any)) {
	d.fileInfo.lines(line)
	line("name", "%s", d.Name)
	trained := fmt.Sprintf("%d of %d iterations", d.Iteration, d.Iterations)
	if d.Iteration == 0 && len(d.Memory) > 0 {
		trained = "not trained: it has a memory only"
	}
	if d.Images != nil {
		trained += fmt.Sprintf(", %s read", count(*d.Images, "image"))
	}
	line("training", "%s, %s", trained, d.Precision)
	if d.Skipped != nil {
		line("left out", "iterations %v, whose loss or gradient norm was not finite", d.Skipped)
	}
	if d.Classes != nil {
		line("classes", "%d: %s", len(d.Classes), strings.Join(d.Classes, ", "))
	}
	cameras := count(d.Views, "camera")
	line("views", "%s: %s", cameras, strings.Join(d.Cameras, ", "))
	line("input", "%s to %s, crop %s", d.Input.Fit, d.Input.Resize, d.Input.Crop)
	line("weights", "%.1f million trainable elements", float64(d.Elements)/1e6)
	d.backboneLines(line)
	if d.Memory != nil {
		var list []string
		for _, m := range d.Memory {
			text := fmt.Sprintf("%s (%s)", m.Class, count(m.Objects, "object"))
			if m.Alone {
				text = fmt.Sprintf("%s (%s, not trained on)", m.Class, count(m.Objects, "object"))
			}
			list = append(list, text)
		}
		line("memory", "%s, %s", machine.Size(d.MemorySize), strings.Join(list, ", "))
	}
	line("head", "%s (inspect.head)", d.Head)
	if n := len(d.Additions); n > 0 {
		last := d.Additions[n-1]
		line("additions", "%d to the calibration, the last of %s: %s, %s; calibrate --history lists them",
			n, last.Time.Format(time.DateOnly), count(last.Objects, "good object"), last.Source)
	}
	line("data.root", "%s", d.Data)
	d.bundleLines(line)
}

func (d *modelInfo) backboneLines(line func(key, format string, values ...any)) {
	layers := "all of the archive"
	if d.Backbone.Layers != nil {
		layers = strings.Trim(fmt.Sprint(d.Backbone.Layers), "[]")
	}
	line("backbone", "%s, layers %s", d.Backbone.Name, layers)
	if d.Bundle == nil {
		line("", "in %s, backbone.mode %s", d.Backbone.Weights, d.Backbone.Mode)
		line("", "sha256 %s", d.Backbone.SHA256)
		return
	}
	s := d.Bundle.Backbone
	line("", "inside, %s, %.1f million elements", export.TypeName(s.Type), float64(d.Bundle.BackboneElements)/1e6)
	line("", "sha256 of the values %s", s.SHA256)
	if s.Change > 0 {
		line("", "rounded: values have moved by up to %.2g of the largest of their tensor", s.Change)
	}
	line("", "made from %s, sha256 %s", s.Source, d.Backbone.SHA256)
}

func (d *modelInfo) bundleLines(line func(key, format string, values ...any)) {
	if d.Bundle == nil {
		return
	}
	line("made by", "mvag-torch %s, from the file of sha256 %s", d.Bundle.Program, d.Bundle.Checkpoint)
	for _, l := range d.Bundle.Licences {
		text := ""
		if l.Text != "" {
			text = fmt.Sprintf(" (%d bytes of text; --json has it)", len(l.Text))
		}
		line("licence", "of the backbone: %s, by %s%s", l.Name, l.From, text)
	}
	if len(d.Bundle.Licences) == 0 {
		line("licence", "of the backbone: none is recorded")
	}
	if t := d.Bundle.Thumbnails; t != nil {
		line("thumbnails", "%s, %d x %d pixels", count(len(t.Classes), "object"), t.Width, t.Height)
	} else {
		line("thumbnails", "none")
	}
}

// tables writes what the thresholds are and what they promise.
func (d *modelInfo) tables(w io.Writer) error {
	if d.Heads == nil {
		_, err := fmt.Fprintln(w, "\nno thresholds: mvag-torch calibrate makes them from good images")
		return err
	}
	for _, h := range d.Heads {
		fmt.Fprintf(w, "\n%s: ", h.Head)
		if err := describe(w, d.heads.Of(h.Head)); err != nil {
			return err
		}
	}
	return nil
}

// listTypes says how many tensors of each type there are.
func listTypes(types map[string]int) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(types)) {
		list = append(list, fmt.Sprintf("%d of %s", types[name], name))
	}
	return strings.Join(list, ", ")
}
