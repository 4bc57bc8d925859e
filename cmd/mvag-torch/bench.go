package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/eval"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/weights"
	"mvag-torch/train"
)

// sizes are the models that bench knows; third_party/bench_torch.py has the same.
var sizes = map[string]struct {
	backbone     string
	resize, crop int
}{
	"s224": {"vit_small_patch14_dinov2", 256, 224},
	"s392": {"vit_small_patch14_dinov2", 448, 392},
	"b392": {"vit_base_patch14_reg4_dinov2", 448, 392},
}

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:  "bench",
		Usage: "time a train step or inference on random pictures and weights; prints one JSON line",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "size", Value: "s224", Usage: "s224, s392 or b392: ViT-S or -B, side in pixels"},
			&cli.StringFlag{Name: "what", Value: "train", Usage: "train or infer"},
			&cli.StringFlag{Name: "device", Value: "cpu", Usage: "auto, cpu, cuda or cuda:N"},
			&cli.IntFlag{Name: "threads", Usage: "CPU threads of LibTorch; 0 leaves the choice to it"},
			&cli.IntFlag{Name: "steps", Value: 5, Usage: "timed steps, after two to warm up"},
			setFlag,
		},
		Action: bench,
	}
}

func bench(c *cli.Context) error {
	size, ok := sizes[c.String("size")]
	if what := c.String("what"); !ok || what != "train" && what != "infer" || c.Int("steps") < 1 {
		return usageError{fmt.Errorf("%s: have size %q, what %q, %d steps; want s224, s392 or b392, train or infer, at least 1",
			c.Command.HelpName, c.String("size"), what, c.Int("steps"))}
	}
	cfg, err := configs.Parse("bench", nil, append([]string{"backbone.name=" + size.backbone, fmt.Sprint("data.resize=", size.resize),
		fmt.Sprint("data.crop=", size.crop), "device=" + c.String("device"), fmt.Sprint("threads=", c.Int("threads"))}, c.StringSlice("set")...)...)
	if err != nil {
		return usageError{err}
	}
	seconds, device, err := timeSteps(cfg, c.String("what") == "train", c.Int("steps"))
	if err != nil {
		return err
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	pictures := cfg.Train.Objects * cfg.Data.Views
	sorted := slices.Sorted(slices.Values(seconds))
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"program": "mvag-torch " + version, "size": c.String("size"), "what": c.String("what"), "device": device,
		"threads": tensor.Threads(), "cpus": runtime.NumCPU(), "pictures": pictures,
		"pictures_per_second": float64(pictures) / sorted[len(sorted)/2], "seconds": seconds, "peak_bytes": usage.Maxrss * 1024,
	})
}

// timeSteps returns the seconds of each timed step.
func timeSteps(cfg configs.Config, training bool, steps int) (seconds []float64, device string, err error) {
	d, err := tensor.PickDevice(cfg.Device)
	if err != nil {
		return nil, "", err
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return nil, "", err
	}
	layers, _, err := model.Layers(cfg, arch)
	if err != nil {
		return nil, "", err
	}
	var backbone weights.Map // of an archive that is run, its own
	if arch.Module == nil {
		backbone = arch.Random(layers[len(layers)-1], cfg.Data.Crop/arch.Patch, 1)
	}
	err = tensor.Run(func(s *tensor.Scope) error {
		if cfg.Threads > 0 {
			tensor.SetThreads(cfg.Threads)
		}
		if err := tensor.SetMatmulPrecision(cfg.Precision == "tf32"); err != nil {
			return err
		}
		m, err := model.New(s, d, cfg, arch, backbone)
		if err != nil {
			return err
		}
		batch := randomBatch(cfg)
		stepper, predictor := train.NewStepper(s, cfg, m), eval.NewPredictor(s, m, cfg)
		for i := range steps + 2 {
			start := time.Now()
			s.Local(func(s *tensor.Scope) *tensor.Tensor {
				if !training {
					predictor.Maps(s, batch)
					return nil
				}
				_, norm := stepper.Step(s, batch, cfg.Train.HardWarmup/2+i)
				norm.Item() // waits for the device
				return nil
			})
			if i >= 2 {
				seconds = append(seconds, time.Since(start).Seconds())
			}
		}
		return nil
	})
	return seconds, d.String(), err
}

func randomBatch(cfg configs.Config) *dataset.Batch {
	b := &dataset.Batch{Views: cfg.Data.Views, Objects: make([]*dataset.Object, cfg.Train.Objects)}
	n := cfg.Train.Objects * cfg.Data.Views
	b.Pixels, b.Present = make([]uint8, n*3*cfg.Data.Crop*cfg.Data.Crop), make([]bool, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b.Pixels {
		b.Pixels[i] = uint8(rng.Uint32())
	}
	for i := range b.Present {
		b.Present[i] = true
	}
	return b
}
