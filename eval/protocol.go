package eval

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval/metric"
	"mvag-torch/model"
	"mvag-torch/model/calibration"
)

// Protocol is what decides the metrics besides the images: the head of results.json.
type Protocol struct {
	// Settings are all settings that decide a map, a score or a metric, by their path in the configuration.
	Settings map[string]string `json:"settings"`
	// The rules that are no settings.
	ImageScore  string `json:"image_score"`
	ObjectScore string `json:"object_score"`
	ImageLabel  string `json:"image_label"`
	Mean        string `json:"mean"`

	Iteration *int   `json:"iteration"` // of the checkpoint; null for bare weights
	Model     string `json:"model_sha256"`
	Backbone  string `json:"backbone_sha256"`
	Test      string `json:"test_sha256"` // of the list of test images
	Device    string `json:"device"`
	Batch     int    `json:"batch_objects"` // moves no value beyond rounding

	// Unreadable counts the test images that could not be read and were left out (data.on_error: skip).
	Unreadable int `json:"unreadable"`
	// EmptyMasks counts the images with a defect that the crop or the resize removed from the mask: they stay defective
	// images of normal pixels.
	EmptyMasks int `json:"empty_masks"`
	// Depths are the bits that 16-bit images of each class use, where data.bits is auto.
	Depths dataset.Depths `json:"depths,omitempty"`
	// Levels are what the maps of reconstruction and memory are divided by before their mean is taken ("both").
	Levels map[string]calibration.Levels `json:"levels,omitempty"`
	// Noted counts files that are odd, by the kinds of mvag-torch dataset check.
	Noted map[dataset.Finding]dataset.Noted `json:"noted"`
	// Excluded are the values that are undefined in a class, and that the means leave out.
	Excluded map[string][]string `json:"excluded"`
}

// newProtocol describes an evaluation of m by cfg on the test objects of data.
func newProtocol(cfg configs.Config, m *model.Trained, data *dataset.Set) Protocol {
	return Protocol{
		Settings:   configs.Deciding(cfg, configs.Layout, configs.Features, configs.Scores, configs.Metrics),
		ImageScore: "mean of the top fraction of map pixels", ObjectScore: "max over views", ImageLabel: "data set", Mean: "plain mean over classes",
		Iteration: m.Iteration, Model: m.SHA256, Backbone: m.BackboneSHA256, Test: listed(data.Test), Device: m.Device.String(), Batch: cfg.Eval.Objects,
		Depths: data.Source.Depths,
	}
}

// listed tells one list of test images from another, wherever they lie: a SHA-256 of classes, objects, cameras, defect
// codes and file names.
func listed(objects []dataset.Object) string {
	h := sha256.New() // takes everything
	for _, o := range objects {
		_, _ = fmt.Fprintf(h, "%q %q\n", o.Class, o.ID)
		for _, v := range o.Views {
			_, _ = fmt.Fprintf(h, "%d %q %q\n", v.Camera, v.Code, path.Base(filepath.ToSlash(v.Path)))
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// fingerprint is a SHA-256 of what decides the values of a class, and of what they are: the settings of the protocol,
// the weights, the device, and the objects with the size and the modification time of their files.
func fingerprint(p Protocol, data *dataset.Set, objects []dataset.Object) string {
	h := sha256.New() // takes everything
	_ = json.NewEncoder(h).Encode([]any{"partial 4", metric.Names(), p.Settings, p.Model, p.Backbone, p.Device, data.Identity(objects)})
	return fmt.Sprintf("%x", h.Sum(nil))
}
