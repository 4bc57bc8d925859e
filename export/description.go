package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
)

// MetadataKey is the key of the description in the metadata of an ONNX model.
const MetadataKey = "mvag-torch"

// Format is that of the description.
const Format = "mvag-torch onnx 1"

// Description says what an exported model is and how to prepare its input, for people and for programs
// (docs/export.md). Sizes are [height, width], as in the configuration, or a number of both.
type Description struct {
	Format  string `json:"format"`
	Program string `json:"program"` // version that wrote it
	Name    string `json:"name"`
	Opset   int    `json:"opset"`
	Weights string `json:"weights"` // float32 or float16; computed in float32
	Head    string `json:"head"`    // that was wanted: inspect.head

	Checkpoint struct {
		SHA256    string `json:"sha256"`
		Iteration int    `json:"iteration"`
		Precision string `json:"precision"` // of the run
	} `json:"checkpoint"`
	Backbone struct {
		Name   string `json:"name"`
		SHA256 string `json:"sha256"`
		Layers []int  `json:"layers"`
	} `json:"backbone"`
	Input   Input   `json:"input"`
	Map     Map     `json:"map"`
	Classes []Class `json:"classes"`
	Unknown *Class  `json:"unknown,omitempty"` // what judges an object of another class, where there are several
	Margin  float64 `json:"margin"`            // the thresholds in the graph are higher by this fraction
}

// Input is how images become the input.
type Input struct {
	Views   int          `json:"views"`
	Cameras []string     `json:"cameras"`
	Height  int          `json:"height"` // of the input
	Width   int          `json:"width"`
	Fit     string       `json:"fit"`
	Resize  configs.Size `json:"resize"`
	Crop    configs.Size `json:"crop"`
	Tiles   int          `json:"tiles"`
	Image   []int        `json:"image,omitempty"` // [width, height] of all images, with fit pad and tiles
	Place   [4]int       `json:"place"`           // left, top, width, height: where the resized image lies in the input
	Ground  [3]uint8     `json:"background"`      // colour of the input where no image is
	Exif    bool         `json:"exif"`
	Bits    string       `json:"bits"`
	Mean    [3]float32   `json:"mean"` // of the normalisation in the graph
	Std     [3]float32   `json:"std"`
	Rule    string       `json:"rule"`
}

// Map is what the anomaly maps are.
type Map struct {
	Height int   `json:"height"`
	Width  int   `json:"width"`
	Top    int64 `json:"top"` // how many of the highest values make the score
}

// Class is how the objects of a class are judged.
type Class struct {
	Name    string `json:"name"`
	Head    string `json:"head,omitempty"`
	Refused string `json:"refused,omitempty"` // why it is not judged
	// Cameras are those whose images are judged where not all are: of the others nothing is remembered.
	Cameras []string   `json:"cameras,omitempty"`
	Image   *Threshold `json:"image,omitempty"`
	Object  *Threshold `json:"object,omitempty"`
	Pixel   *Threshold `json:"pixel,omitempty"`
}

// Threshold is one of a calibration (docs/calibration.md).
type Threshold struct {
	Threshold float64 `json:"threshold"`
	Basis     string  `json:"basis"`
	Rate      float64 `json:"rate"`
	Objects   int     `json:"objects"`
}

// describe says what a graph is.
func describe(t *model.Trained, cfg configs.Config, trained checkpoint.Info, j *judges, opt Options) *Description {
	d := &Description{Format: Format, Program: opt.Program, Name: cfg.Name, Opset: opt.Opset, Weights: "float32",
		Head: cfg.Inspect.Head, Margin: j.margin}
	if opt.Half {
		d.Weights = "float16"
	}
	d.Checkpoint.SHA256, d.Checkpoint.Iteration = t.SHA256, trained.Iteration
	d.Checkpoint.Precision = trained.Config.Precision
	d.Backbone.Name, d.Backbone.SHA256, d.Backbone.Layers = cfg.Backbone.Name, t.BackboneSHA256, t.Encoder.Layers
	view, size, fit := cfg.Data.Viewport(), cfg.MapSize(), dataset.NewFit(cfg.Data)
	d.Input = Input{
		Views: cfg.Data.Views, Cameras: trained.Naming.CameraNames(cfg.Data.Views),
		Height: view.Height(), Width: view.Width(), Fit: cfg.Data.Fit, Resize: cfg.Data.Resize, Crop: cfg.Data.Crop,
		Tiles: len(fit.Tiles()), Exif: cfg.Data.Exif, Bits: cfg.Data.Bits,
	}
	d.Input.Mean, d.Input.Std = t.Encoder.Arch.Statistics()
	if cfg.Data.Fit != "squash" {
		d.Input.Image = []int{opt.Image.X, opt.Image.Y}
	}
	at := fit.Placed(opt.Image.X, opt.Image.Y)
	d.Input.Place, d.Input.Ground = [4]int{at.Min.X, at.Min.Y, at.Dx(), at.Dy()}, [3]uint8(dataset.Background)
	d.Input.Rule = rule(d.Input, fit)
	d.Map = Map{size.Height(), size.Width(), topOf(cfg)}
	for i, r := range j.rows {
		c := r.describe(d.Input.Cameras)
		if i < len(j.names) {
			d.Classes = append(d.Classes, c)
		} else {
			d.Unknown = &c
		}
	}
	return d
}

// describe says how the class is judged.
func (r judge) describe(cameras []string) Class {
	c := Class{Name: r.class, Head: r.head}
	if judged := r.cameras(len(cameras)); slices.Contains(judged, false) && r.head != "" {
		for i, name := range cameras {
			if judged[i] {
				c.Cameras = append(c.Cameras, name)
			}
		}
	}
	if r.head == "" {
		c.Refused = r.why.Error()
	}
	if r.head == "" || r.levels == nil {
		return c
	}
	of := func(at level) *Threshold {
		s := at(r.levels).For(r.class)
		return &Threshold{s.Threshold, s.Basis, s.Rate, s.Objects}
	}
	c.Image, c.Object, c.Pixel = of(imageLevel), of(objectLevel), of(pixelLevel)
	return c
}

// rule says how images become the input, in words.
func rule(in Input, fit dataset.Fit) string {
	turn := "ignore the EXIF orientation"
	if in.Exif {
		turn = "apply the EXIF orientation"
	}
	const filter = "with Pillow's resize(size, Image.BILINEAR), across first, then down, which antialiases"
	var place string
	if in.Fit == "squash" {
		at := fit.Offset()
		place = fmt.Sprintf("Resize to %d x %d pixels (width x height), whatever the aspect ratio, %s. Cut out %d x %d from column %d and row %d.",
			in.Resize.Width(), in.Resize.Height(), filter, in.Width, in.Height, at.X, at.Y)
	} else {
		at := fit.Placed(in.Image[0], in.Image[1])
		place = fmt.Sprintf("All images have %d x %d pixels (width x height). Resize to %d x %d %s. "+
			"Paste the upper left corner at column %d and row %d of a canvas of %d x %d pixels of the colour %v.",
			in.Image[0], in.Image[1], at.Dx(), at.Dy(), filter, at.Min.X, at.Min.Y, in.Width, in.Height, dataset.Background)
	}
	return "Decode to 8-bit RGB as Pillow's convert(\"RGB\"); " + turn + ". " + place + " Values stay 0 to 255: the graph normalises."
}

// Marshal returns the JSON text.
func (d *Description) Marshal() (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return b.String(), err
}

// ParseDescription reads what Marshal wrote.
func ParseDescription(text string) (*Description, error) {
	d := &Description{}
	r := json.NewDecoder(bytes.NewReader([]byte(text)))
	if err := r.Decode(d); err != nil {
		return nil, fmt.Errorf("%s: %w", MetadataKey, err)
	}
	if _, err := r.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: have more than one JSON value", MetadataKey)
	}
	if d.Format != Format {
		return nil, fmt.Errorf("%s: format: have %.40q, want %q", MetadataKey, d.Format, Format)
	}
	return d, nil
}
