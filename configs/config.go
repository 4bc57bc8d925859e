// Package configs holds the configuration of a run: its schema, its defaults
// (the published setting), strict reading of YAML, validation, and the
// configurations embedded in the program.
package configs

// Config is everything that decides the outcome of a run. Its zero value is
// not usable: start from [Default].
//
// Relative paths are relative to the working folder. In Output, Backbone.Weights,
// Data.Root and Data.Cache, [Load] replaces $NAME, ${NAME} and a leading ~/.
type Config struct {
	// Name is the name of the run folder below Output.
	Name string `yaml:"name"`
	// Output is the folder that holds the run folders.
	Output string `yaml:"output"`
	// Seed decides initial weights, dropout, jitter and the order of objects.
	Seed int64 `yaml:"seed"`
	// Device is "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".
	Device string `yaml:"device"`
	// Threads is the number of CPU threads of LibTorch; 0 leaves the choice to LibTorch.
	Threads int `yaml:"threads"`
	// Precision is that of matrix products: "fp32", "tf32" or "bf16".
	Precision string `yaml:"precision"`
	// CUDAGraph has CUDA devices replay recorded steps and predictions.
	CUDAGraph bool `yaml:"cuda_graph"`

	Backbone Backbone `yaml:"backbone"`
	Data     Data     `yaml:"data"`
	Model    Model    `yaml:"model"`
	Train    Train    `yaml:"train"`
	Eval     Eval     `yaml:"eval"`
}

// Backbone is the frozen encoder.
type Backbone struct {
	// Mode is "native", where the program computes an architecture that it
	// knows, or "module", where the code of a TorchScript archive does
	// (third_party/export_backbone.py); that also says what the layers are.
	Mode string `yaml:"mode"`
	// Name is timm's architecture name, with or without the pretraining tag:
	// vit_base_patch14_reg4_dinov2.lvd142m.
	Name string `yaml:"name"`
	// Weights is a safetensors file, a PyTorch state dict (.pth), a TorchScript
	// archive (.pt, .ts) or an ONNX model; docs/format/weights.md says of whom.
	Weights string `yaml:"weights"`
	// Layers are the 0-based blocks whose outputs are reconstructed; empty
	// means the default of the architecture (2..9 of 12, 4,6..18 of 24,
	// 8,11..29 of 40).
	Layers []int `yaml:"layers,flow"`
	// Fuse groups positions in Layers; each group is averaged into one target.
	// Empty means two halves in order.
	Fuse [][]int `yaml:"fuse,flow"`
}

// Data is where the pictures are and what becomes of them before the model.
type Data struct {
	// Format is the layout on disk: "realiad", "realiad_variety", "mvtec",
	// "visa", "manta", "folder" or "table" (docs/datasets.md).
	Format string `yaml:"format"`
	// Root is the folder that holds everything.
	Root string `yaml:"root"`
	// Index is the folder of index files below Root: realiad_jsons.
	Index string `yaml:"index"`
	// Images is the folder of pictures below Root: realiad_1024.
	Images string `yaml:"images"`
	// Table is a CSV file below Root that lists the pictures: of format table,
	// and of format visa that of its authors, else "".
	Table string `yaml:"table"`
	// Pattern is what the names of an object's pictures have in common, as
	// {object}_{camera}.jpg; "" makes every picture an object. Formats folder
	// and mvtec.
	Pattern string `yaml:"pattern"`
	// Good, Bad and Masks are folders of a class in format folder; Bad and
	// Masks may be "".
	Good  string `yaml:"good"`
	Bad   string `yaml:"bad"`
	Masks string `yaml:"masks"`
	// Holdout is the share of the good objects of format folder that are kept
	// for testing.
	Holdout float64 `yaml:"holdout"`
	// Classes are the classes used, in this order; empty means all, by name.
	Classes []string `yaml:"classes,flow"`
	// Views is the number of cameras.
	Views int `yaml:"views"`
	// Resize and Crop are sides in pixels: pictures are resized to
	// Resize x Resize, then the Crop x Crop centre is kept.
	Resize int `yaml:"resize"`
	Crop   int `yaml:"crop"`
	// Exif applies the EXIF orientation of JPEG and TIFF pictures.
	Exif bool `yaml:"exif"`
	// Decode is how JPEGs are decoded: "exact", or "scaled" to about Resize
	// before resizing, which is faster and needs a build with libjpeg-turbo.
	Decode string `yaml:"decode"`
	// OnError is what a picture that cannot be read does: "stop" ends the run,
	// "skip" leaves the picture out.
	OnError string `yaml:"on_error"`
	// Cache is the folder of prepared pictures (mvag-torch dataset prepare); ""
	// reads the files themselves.
	Cache string `yaml:"cache"`
	// Workers is the number of decoding goroutines; 0 means one a CPU.
	Workers int `yaml:"workers"`
	// Prefetch is the number of batches decoded ahead.
	Prefetch int `yaml:"prefetch"`
}

// Model is the trainable part.
type Model struct {
	// DecoderDepth is the number of decoder blocks; it equals the number of
	// encoder layers.
	DecoderDepth int `yaml:"decoder_depth"`
	// Dropout is the probability of the bottleneck's three dropouts.
	Dropout float64 `yaml:"dropout"`
	// Keep is the fraction of tokens kept when a view looks at another.
	Keep float64 `yaml:"keep"`
	// Select says which tokens are kept: "lowest", "highest" or "all".
	Select string `yaml:"select"`
	// NeighborMask is the odd side of the masked neighbourhood; 0 is off.
	NeighborMask int `yaml:"neighbor_mask"`
	// Eps is added to every denominator of the linear attention.
	Eps float64 `yaml:"eps"`
	// Jitter is the noise added to the features in training.
	Jitter Jitter `yaml:"jitter"`
}

// Jitter is the feature noise of training; scale and probability go linearly
// from their first to their second value over the run.
type Jitter struct {
	Enabled bool       `yaml:"enabled"`
	Scale   [2]float64 `yaml:"scale,flow"`
	Prob    [2]float64 `yaml:"prob,flow"`
}

// Train is the optimisation.
type Train struct {
	// Iterations is the number of optimiser steps.
	Iterations int `yaml:"iterations"`
	// Warmup is the number of steps of linear warm-up; less than Iterations.
	Warmup int `yaml:"warmup"`
	// Objects is the number of objects in a batch; a batch has Objects*Views pictures.
	Objects int `yaml:"objects"`
	// LR is the peak learning rate, LRFinal that of the last step.
	LR      float64 `yaml:"lr"`
	LRFinal float64 `yaml:"lr_final"`
	// WeightDecay is decoupled weight decay.
	WeightDecay float64 `yaml:"weight_decay"`
	// Clip is the largest gradient norm.
	Clip float64 `yaml:"clip"`
	// HardFraction is the final share of patches treated as easy, reached
	// after HardWarmup steps; EasyScale multiplies their gradient.
	HardFraction float64 `yaml:"hard_fraction"`
	HardWarmup   int     `yaml:"hard_warmup"`
	EasyScale    float64 `yaml:"easy_scale"`
	// Holdout is the share of the training objects of each class that are not
	// trained on: the thresholds are calibrated with them.
	Holdout float64 `yaml:"holdout"`
	// CacheFeatures keeps what the frozen encoder gives for each training
	// picture, in float16, so that it is computed once: "off", "ram", or "disk"
	// (in the folder features below Output, which runs share).
	CacheFeatures string `yaml:"cache_features"`
	// LogEvery and CheckpointEvery are in steps.
	LogEvery        int `yaml:"log_every"`
	CheckpointEvery int `yaml:"checkpoint_every"`
}

// Eval is the protocol of evaluation.
type Eval struct {
	// Objects is the number of objects in a batch.
	Objects int `yaml:"objects"`
	// MapSize is the side of the anomaly map in pixels.
	MapSize int `yaml:"map_size"`
	// Blur is the Gaussian that smooths the map.
	Blur Blur `yaml:"blur"`
	// Top is the fraction of map pixels whose mean is the image score.
	Top float64 `yaml:"top"`
	// MaskRule binarises the resized mask: "gt0" or "gt0.5".
	MaskRule string `yaml:"mask_rule"`
	// AuproLimit is the false-positive rate up to which AUPRO integrates.
	AuproLimit float64 `yaml:"aupro_limit"`
	// FalseAlarm is the rate of false alarms that thresholds are calibrated for.
	FalseAlarm float64 `yaml:"false_alarm"`
}

// Blur is a Gaussian filter with zero padding.
type Blur struct {
	Size  int     `yaml:"size"`
	Sigma float64 `yaml:"sigma"`
}
