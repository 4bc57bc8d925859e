package configs

// Default returns the published setting of MVAG-FL on Real-IAD (docs/model.md): 50,000 iterations of 2 objects x 5
// views at 392 pixels with a DINOv2 ViT-B/14, except that one training object in eight is held out to calibrate
// thresholds (train.holdout); the paper trains on all. It is valid, and what a YAML file does not set keeps these
// values.
func Default() Config {
	return Config{
		Name:   "realiad",
		Output: "runs",
		Seed:   1,
		Device: "auto", Precision: "fp32", CUDAGraph: true,
		Backbone: Backbone{
			Mode:    "native",
			Name:    "vit_base_patch14_reg4_dinov2.lvd142m",
			Weights: "backbones/vit_base_patch14_reg4_dinov2.lvd142m.safetensors",
		},
		Data: Data{
			Format:  "realiad",
			Root:    "data/Real-IAD",
			Index:   "realiad_jsons",
			Images:  "realiad_1024",
			Good:    "good",
			Holdout: 0.2,
			Views:   5,
			Fit:     "squash", Resize: Square(448), Crop: Square(392), Overlap: 0.25,
			Bits:   "16",
			Decode: "exact", OnError: "stop", MaxUnreadable: 0.1,
			Prefetch: 4,
		},
		Model: Model{
			DecoderDepth: 8,
			Dropout:      0.4,
			Keep:         0.3,
			Select:       "lowest",
			Eps:          1e-6,
			Jitter:       Jitter{Enabled: true, Scale: [2]float64{2, 5}, Prob: [2]float64{0.2, 0.8}},
		},
		Train: Train{
			Iterations:    50000,
			Warmup:        100,
			Objects:       2,
			LR:            2e-3,
			LRFinal:       2e-4,
			WeightDecay:   1e-4,
			Clip:          0.1,
			HardFraction:  0.8,
			HardWarmup:    1000,
			EasyScale:     0.1,
			Holdout:       0.125,
			CacheFeatures: Auto, AllReduce: "float32", OnNaN: "stop",
			LogEvery:        50,
			CheckpointEvery: 1000,
		},
		Eval: Eval{
			Objects:    2,
			MapSize:    256,
			Blur:       Blur{Size: 5, Sigma: 4},
			Top:        0.01,
			MaskRule:   "gt0",
			AuproLimit: 0.3,
			FalseAlarm: 0.01,
		},
		Memory: Memory{Codes: 768, Dims: 128}, Inspect: Inspect{Head: "both"},
	}
}
