package eval

import "mvag-torch/configs"

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
}

// NewProtocol describes an evaluation by cfg with the encoder weights of the
// given SHA-256.
func NewProtocol(cfg configs.Config, sha256 string, iteration *int) Protocol {
	return Protocol{
		Data: cfg.Data.Format, Views: cfg.Data.Views, Resize: cfg.Data.Resize, Crop: cfg.Data.Crop,
		MapSize: cfg.Eval.MapSize, BlurSize: cfg.Eval.Blur.Size, BlurSigma: cfg.Eval.Blur.Sigma,
		MaskRule: cfg.Eval.MaskRule, ImageScore: "mean of the top fraction of map pixels", Top: cfg.Eval.Top,
		ObjectScore: "max over views", AuproLimit: cfg.Eval.AuproLimit, ImageLabel: "data set",
		Mean: "plain mean over classes", Iteration: iteration, Backbone: cfg.Backbone.Name, SHA256: sha256,
	}
}
