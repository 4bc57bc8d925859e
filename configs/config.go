// Package configs is the configuration of a run: the schema and what each key decides, defaults (the published setting,
// except that thresholds have a hold-out), strict decoding of YAML, validation, and the embedded configurations.
package configs

// Config is everything that decides the outcome of a run. Its zero value is not valid: start from [Default]. The struct
// tag "decides" of a field lists what the key decides, as [Kind] values.
//
// Relative paths are relative to the working folder. In Output, Backbone.Weights, Data.Root and Data.Cache, [Load]
// replaces $NAME, ${NAME} and a leading ~/.
type Config struct {
	// Name is the name of the run folder below Output.
	Name string `yaml:"name" decides:"nothing"`
	// Output is the folder that holds the run folders.
	Output string `yaml:"output" decides:"nothing"`
	// Seed seeds the initial weights, dropout, jitter and the order of objects.
	Seed int64 `yaml:"seed" decides:"training"`
	// Device is "auto" (CUDA if there is a GPU), "cpu", "cuda" or "cuda:N".
	Device string `yaml:"device" decides:"nothing"`
	// Threads is the number of CPU threads of LibTorch; 0 is LibTorch's own choice.
	Threads int `yaml:"threads" decides:"nothing"`
	// Precision is that of matrix multiplications: "fp32", "tf32" or "bf16", or [Auto] (bf16 on GPUs that have it, else
	// fp32).
	Precision string `yaml:"precision" decides:"features,training,scores"`
	// CUDAGraph captures training steps and predictions as CUDA graphs and replays them.
	CUDAGraph bool `yaml:"cuda_graph" decides:"nothing"`
	// Deterministic demands operations that give the same bits each time on a GPU; on a CPU all do.
	Deterministic bool `yaml:"deterministic" decides:"nothing"`

	Backbone Backbone `yaml:"backbone"`
	Data     Data     `yaml:"data"`
	Model    Model    `yaml:"model"`
	Train    Train    `yaml:"train"`
	Memory   Memory   `yaml:"memory"`
	Eval     Eval     `yaml:"eval"`
	Inspect  Inspect  `yaml:"inspect"`
}

// Auto is the value of precision and train.cache_features that stands for another one until a run begins. The run and
// its checkpoint have that other one.
const Auto = "auto"

// Adopt gives the settings of c that are [Auto] the values they have in earlier, the configuration of a checkpoint.
func (c *Config) Adopt(earlier Config) {
	if c.Precision == Auto {
		c.Precision = earlier.Precision
	}
	if c.Train.CacheFeatures == Auto {
		c.Train.CacheFeatures = earlier.Train.CacheFeatures
	}
}

// CachesFeatures tells whether the features of training images are kept, which is open where it is [Auto].
func (t Train) CachesFeatures() bool { return t.CacheFeatures == "ram" || t.CacheFeatures == "disk" }

// Backbone is the frozen encoder.
type Backbone struct {
	// Mode is "native" for an architecture that the program implements, or "module" to run the code of a TorchScript
	// archive (third_party/export_backbone.py), which then also determines the layers.
	Mode string `yaml:"mode" decides:"features,training,scores"`
	// Name is timm's architecture name, with or without the pretraining tag: vit_base_patch14_reg4_dinov2.lvd142m.
	Name string `yaml:"name" decides:"features,training,scores"`
	// Weights is a safetensors file, a PyTorch state dict (.pth), a TorchScript archive (.pt, .ts) or an ONNX model;
	// docs/format/weights.md lists whose.
	Weights string `yaml:"weights" decides:"nothing"`
	// Prefix is a whole part of what the encoder's names in Weights begin with, where the file has several encoders:
	// teacher.backbone.
	Prefix string `yaml:"prefix" decides:"features,training,scores"`
	// Layers are the blocks whose outputs are reconstructed, counted from 0. If empty, the architecture's default: 2, 3
	// … 9 of 12 blocks; 4, 6 … 18 of 24; 8, 11 … 29 of 40.
	Layers []int `yaml:"layers,flow" decides:"features,training,scores"`
	// Fuse groups indices into Layers; the outputs of a group are averaged into one target. If empty, the first and the
	// second half.
	Fuse [][]int `yaml:"fuse,flow" decides:"features,training,scores"`
}

// Data says where the images are and how they are preprocessed.
type Data struct {
	// Format is the layout on disk, one of [Formats] (docs/datasets.md).
	Format string `yaml:"format" decides:"layout"`
	// Root is the folder of the data set.
	Root string `yaml:"root" decides:"nothing"`
	// Index is the folder of index files below Root: realiad_jsons.
	Index string `yaml:"index" decides:"nothing"`
	// Images is the folder of images below Root: realiad_1024.
	Images string `yaml:"images" decides:"nothing"`
	// Table is the CSV file below Root that lists the images, in formats table and visa (there "" reads the reorganised
	// folders).
	Table string `yaml:"table" decides:"layout"`
	// Pattern is the pattern of file names, such as {object}_{camera}.jpg, in formats folder and mvtec. If "", every
	// image is an object.
	Pattern string `yaml:"pattern" decides:"layout"`
	// Good, Bad and Masks are the folders of a class in format folder; Bad and Masks may be "".
	Good  string `yaml:"good" decides:"layout"`
	Bad   string `yaml:"bad" decides:"layout"`
	Masks string `yaml:"masks" decides:"layout"`
	// Holdout is the fraction of the good objects that is kept for testing, in format folder.
	Holdout float64 `yaml:"holdout" decides:"layout"`
	// Classes are the classes to use, in this order; if empty, all, by name.
	Classes []string `yaml:"classes,flow" decides:"layout"`
	// Views is the number of cameras, V.
	Views int `yaml:"views" decides:"layout,features,training,scores"`
	// Fit says how images come to the size of the model: "squash" resizes them to Resize whatever their aspect ratio and
	// takes the central Crop; "pad" keeps the aspect ratio, fills what is left of Resize with the mean colour and takes the
	// central Crop; "tiles" does so, too, but covers all of Resize with overlapping tiles of Crop.
	Fit    string `yaml:"fit" decides:"features,training,scores"`
	Resize Size   `yaml:"resize" decides:"features,training,scores"`
	Crop   Size   `yaml:"crop" decides:"features,training,scores"`
	// Overlap is the fraction of a tile that it shares with the next at least.
	Overlap float64 `yaml:"overlap" decides:"features,training,scores"`
	// Exif applies the EXIF orientation of images.
	Exif bool `yaml:"exif" decides:"features,training,scores"`
	// Bits is how many bits the values of 16-bit images use: "8" to "16", or "auto" to find it for each class.
	Bits string `yaml:"bits" decides:"features,training,scores"`
	// Decode is how JPEGs are decoded: "exact", or "scaled", to about Resize in the decoder, which is faster and needs
	// a build with libjpeg-turbo.
	Decode string `yaml:"decode" decides:"features,training,scores"`
	// OnError is what happens if an image cannot be read: "stop" ends the run, "skip" leaves the image out.
	OnError string `yaml:"on_error" decides:"metrics"`
	// MaxUnreadable is the fraction of the training or test images of a class that stops a run with on_error "skip" once
	// they cannot be read; 1 never stops.
	MaxUnreadable float64 `yaml:"max_unreadable" decides:"nothing"`
	// Cache is the folder of prepared images (mvag-torch dataset prepare); if "", the files themselves are read.
	Cache string `yaml:"cache" decides:"nothing"`
	// Workers is the number of decoding goroutines; 0 is one for each CPU.
	Workers int `yaml:"workers" decides:"nothing"`
	// Prefetch is the number of batches decoded ahead.
	Prefetch int `yaml:"prefetch" decides:"nothing"`
}

// Model is the trainable part.
type Model struct {
	// DecoderDepth is the number of decoder blocks; it equals the number of encoder layers.
	DecoderDepth int `yaml:"decoder_depth" decides:"training,scores"`
	// Dropout is the probability of the bottleneck's three dropouts.
	Dropout float64 `yaml:"dropout" decides:"training"`
	// Keep is the fraction of tokens kept in attention from one view to another.
	Keep float64 `yaml:"keep" decides:"training,scores"`
	// Select says which tokens these are: "lowest", "highest" or "all".
	Select string `yaml:"select" decides:"training,scores"`
	// NeighborMask is the side length of the masked neighbourhood, odd; 0 is off.
	NeighborMask int `yaml:"neighbor_mask" decides:"training,scores"`
	// Eps is added to every denominator of the linear attention.
	Eps float64 `yaml:"eps" decides:"training,scores"`
	// Jitter is the noise added to the features in training.
	Jitter Jitter `yaml:"jitter"`
}

// Jitter is the feature noise of training. Over the run, scale and probability change linearly from their first to
// their second value.
type Jitter struct {
	Enabled bool       `yaml:"enabled" decides:"training"`
	Scale   [2]float64 `yaml:"scale,flow" decides:"training"`
	Prob    [2]float64 `yaml:"prob,flow" decides:"training"`
}

// Train is the optimisation.
type Train struct {
	// Iterations is the number of optimiser steps.
	Iterations int `yaml:"iterations" decides:"training"`
	// Warmup is the number of steps of linear warm-up; less than Iterations.
	Warmup int `yaml:"warmup" decides:"training"`
	// Objects is the number of objects in a batch, which has Objects*Views images. Several processes divide them: it is a
	// multiple of their number.
	Objects int `yaml:"objects" decides:"training"`
	// LR is the peak learning rate, LRFinal that of the last step.
	LR      float64 `yaml:"lr" decides:"training"`
	LRFinal float64 `yaml:"lr_final" decides:"training"`
	// WeightDecay is decoupled weight decay.
	WeightDecay float64 `yaml:"weight_decay" decides:"training"`
	// Clip is the maximum gradient norm.
	Clip float64 `yaml:"clip" decides:"training"`
	// HardFraction is the final fraction of patches treated as easy, reached after HardWarmup steps. EasyScale
	// multiplies their gradient.
	HardFraction float64 `yaml:"hard_fraction" decides:"training"`
	HardWarmup   int     `yaml:"hard_warmup" decides:"training"`
	EasyScale    float64 `yaml:"easy_scale" decides:"training"`
	// Holdout is the fraction of the training objects of each class that is held out to calibrate thresholds. The paper
	// trains on all.
	Holdout float64 `yaml:"holdout" decides:"training"`
	// CacheFeatures keeps the frozen encoder's features of each training image in float16, so that they are computed
	// once: "off", "ram", "disk" (in the folder features below Output, which runs share), or [Auto] (ram on a CPU where
	// they fit, else off).
	CacheFeatures string `yaml:"cache_features" decides:"training"`
	// AllReduce is the type in which gradients are sent and summed between the processes of a run that has several:
	// "float32" or "bfloat16", which is half as much and rounds.
	AllReduce string `yaml:"all_reduce" decides:"training"`
	// OnNaN is what happens where the loss or the gradient norm of a step is not finite: "stop" ends the run, "skip"
	// leaves the batch out, at most three times in a run. Such a step changes nothing either way.
	OnNaN string `yaml:"on_nan" decides:"nothing"`
	// LogEvery and CheckpointEvery are intervals in steps.
	LogEvery        int `yaml:"log_every" decides:"nothing"`
	CheckpointEvery int `yaml:"checkpoint_every" decides:"nothing"`
}

// Memory is what a model remembers of good parts besides what it learns.
type Memory struct {
	// Codes is the number of patches that are remembered of each class, camera and target; 0 is no memory. Dims is the
	// number of dimensions of the subspace that they lie in.
	Codes int `yaml:"codes" decides:"training"`
	Dims  int `yaml:"dims" decides:"training"`
}

// Eval is the protocol of evaluation.
type Eval struct {
	// Objects is the number of objects in a batch.
	Objects int `yaml:"objects" decides:"nothing"`
	// MapSize is the length of the longer side of the anomaly map in pixels.
	MapSize int `yaml:"map_size" decides:"scores"`
	// Blur is the Gaussian that smooths the map.
	Blur Blur `yaml:"blur"`
	// Top is the fraction of map pixels whose mean is the image score, of those of one tile with data.fit tiles, so that
	// a small defect counts as much as in an image of the size of a tile.
	Top float64 `yaml:"top" decides:"scores"`
	// MaskRule binarises the resized mask: "gt0" or "gt0.5".
	MaskRule string `yaml:"mask_rule" decides:"metrics"`
	// AuproLimit is the false-positive rate up to which AUPRO integrates.
	AuproLimit float64 `yaml:"aupro_limit" decides:"metrics"`
	// FalseAlarm is the false-alarm rate that thresholds are calibrated for.
	FalseAlarm float64 `yaml:"false_alarm" decides:"thresholds"`
}

// Blur is a Gaussian filter with zero padding: kernel size, odd, and standard deviation, in pixels.
type Blur struct {
	Size  int     `yaml:"size" decides:"scores"`
	Sigma float64 `yaml:"sigma" decides:"scores"`
}

// Inspect is how predict judges.
type Inspect struct {
	// Head is what is judged by: "reconstruction", "memory", or "both": the mean of their maps, and of a class that has
	// one of them, that one.
	Head string `yaml:"head" decides:"thresholds"`
}
