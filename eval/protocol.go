package eval

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"path/filepath"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/model"
)

// Protocol is what decides the numbers besides the model: it stands at the
// head of results.json.
type Protocol struct {
	Data        string  `json:"data"` // format of the data set
	Views       int     `json:"views"`
	Resize      int     `json:"resize"`
	Crop        int     `json:"crop"`
	MapSize     int     `json:"map_size"`
	BlurSize    int     `json:"blur_size"`
	BlurSigma   float64 `json:"blur_sigma"`
	MaskRule    string  `json:"mask_rule"`
	ImageScore  string  `json:"image_score"`
	Top         float64 `json:"top"`
	ObjectScore string  `json:"object_score"`
	AuproLimit  float64 `json:"aupro_limit"`
	ImageLabel  string  `json:"image_label"`
	Mean        string  `json:"mean"`
	Iteration   *int    `json:"iteration"` // of the checkpoint; null for bare weights
	Backbone    string  `json:"backbone"`
	SHA256      string  `json:"backbone_sha256"`
	Model       string  `json:"model_sha256"` // of the checkpoint file
	Test        string  `json:"test_sha256"`  // of the list of test pictures
	Device      string  `json:"device"`
	Batch       int     `json:"batch_objects"` // moves no number beyond rounding
	// Unreadable counts the test pictures that could not be read and were left
	// out (data.on_error: skip).
	Unreadable int `json:"unreadable"`
	// EmptyMasks counts the pictures with a defect that the crop or the resize
	// removed from the mask: they stay defective pictures of normal pixels.
	// Excluded are the numbers that a class lacks and the means leave out.
	EmptyMasks int                 `json:"empty_masks"`
	Excluded   map[string][]string `json:"excluded"`
}

// NewProtocol describes an evaluation of m by cfg.
func NewProtocol(cfg configs.Config, m *model.Trained) Protocol {
	return Protocol{
		Data: cfg.Data.Format, Views: cfg.Data.Views, Resize: cfg.Data.Resize, Crop: cfg.Data.Crop,
		MapSize: cfg.Eval.MapSize, BlurSize: cfg.Eval.Blur.Size, BlurSigma: cfg.Eval.Blur.Sigma,
		MaskRule: cfg.Eval.MaskRule, ImageScore: "mean of the top fraction of map pixels", Top: cfg.Eval.Top,
		ObjectScore: "max over views", AuproLimit: cfg.Eval.AuproLimit, ImageLabel: "data set",
		Mean: "plain mean over classes", Iteration: m.Iteration, Backbone: cfg.Backbone.Name, SHA256: m.BackboneSHA256,
		Batch: cfg.Eval.Objects, Device: m.Device.String(), Model: m.SHA256,
	}
}

// fingerprint tells one list of test pictures from another, wherever they lie:
// a SHA-256 of classes, objects, cameras, defect codes and file names.
func fingerprint(objects []dataset.Object) string {
	h := sha256.New()
	for i := range objects {
		o := &objects[i]
		_, _ = io.WriteString(h, fmt.Sprintf("%q %q\n", o.Class, o.ID)) // a hash takes everything
		for _, v := range o.Views {
			_, _ = io.WriteString(h, fmt.Sprintf("%d %q %q\n", v.Camera, v.Code, path.Base(filepath.ToSlash(v.Path))))
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
