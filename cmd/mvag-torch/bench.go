package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/doctor"
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
		Usage: "time a train step, inference, the loader or the metrics on random pictures, weights and maps; prints one JSON line",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "size", Value: "s224", Usage: "s224, s392 or b392: ViT-S or -B, side in pixels"},
			&cli.StringFlag{Name: "what", Value: "train", Usage: "train, infer, loader or metrics"},
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
	what, steps := c.String("what"), c.Int("steps")
	if !ok || !slices.Contains([]string{"train", "infer", "loader", "metrics"}, what) || steps < 1 {
		return usageError{fmt.Errorf("%s: have size %q, what %q, %d steps; want s224, s392 or b392; train, infer, loader or metrics; at least 1",
			c.Command.HelpName, c.String("size"), what, steps)}
	}
	cfg, err := configs.Parse("bench", nil, append([]string{"backbone.name=" + size.backbone, fmt.Sprint("data.resize=", size.resize),
		fmt.Sprint("data.crop=", size.crop), "device=" + c.String("device"), fmt.Sprint("threads=", c.Int("threads"))}, c.StringSlice("set")...)...)
	if err != nil {
		return usageError{err}
	}
	line := map[string]any{
		"program": "mvag-torch " + version, "size": c.String("size"), "what": what, "cpus": runtime.NumCPU(),
	}
	switch what {
	case "loader", "metrics":
		err = benchPart(c.Context, cfg, what, steps, line)
	default:
		err = benchModel(cfg, what == "train", steps, line)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(line)
}

// benchModel adds to the line what is measured of training steps or inference.
func benchModel(cfg configs.Config, training bool, steps int, line map[string]any) error {
	t, err := timeSteps(cfg, training, steps)
	if err != nil {
		return err
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return err
	}
	work, inference := doctor.Work(cfg, arch)
	if !training {
		work = inference
	}
	pictures := cfg.Train.Objects * cfg.Data.Views
	maps.Copy(line, map[string]any{
		"device": t.device.String(), "precision": cfg.Precision, "cache_features": cfg.Train.CacheFeatures, "cuda_graph": cfg.CUDAGraph, "threads": tensor.Threads(),
		"pictures": pictures, "pictures_per_second": float64(pictures) / median(t.seconds), "seconds": t.seconds, "phases": t.phases, "peak_bytes": t.peak,
		// Of what the device reaches in one large matrix product of the same precision.
		"share_of_product_rate": work / median(t.seconds) / t.rate, "product_flops": t.rate, "step_flop": work,
	})
	return nil
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	return sorted[len(sorted)/2]
}

// timing is what timeSteps measures.
type timing struct {
	device  tensor.Device
	seconds []float64          // of each step
	phases  map[string]float64 // median seconds; a device is waited for after each, so that their sum is more than a step
	rate    float64            // floating-point operations a second of a large matrix product
	peak    uint64             // bytes in use
}

func timeSteps(cfg configs.Config, training bool, steps int) (timing, error) {
	t := timing{phases: map[string]float64{}}
	var err error
	if t.device, err = tensor.PickDevice(cfg.Device); err != nil {
		return t, err
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return t, err
	}
	layers, _, err := model.Layers(cfg, arch)
	if err != nil {
		return t, err
	}
	var backbone weights.Map // of an archive that is run, its own
	if arch.Module == nil {
		backbone = arch.Random(layers[len(layers)-1], cfg.Data.Crop/arch.Patch, 1)
	}
	err = tensor.Run(func(s *tensor.Scope) error {
		if cfg.Threads > 0 {
			tensor.SetThreads(cfg.Threads)
		}
		if err := tensor.SetPrecision(cfg.Precision); err != nil {
			return err
		}
		m, err := model.New(s, t.device, cfg, arch, backbone)
		if err != nil {
			return err
		}
		backbone = nil
		batch := &train.Batch{Batch: randomBatch(cfg)}
		if training {
			err = t.train(s, m, cfg, batch, steps)
		} else {
			predictor := model.NewPredictor(s, m, cfg)
			err = t.measure(s, steps, func(s *tensor.Scope, _ int) { predictor.Maps(s, batch.Batch) })
		}
		if err != nil {
			return err
		}
		t.rate = productRate(s, t.device, cfg.Precision)
		return nil
	})
	return t, err
}

// train times whole steps, then steps by their phases, which are not replayed.
func (t *timing) train(s *tensor.Scope, m *model.Model, cfg configs.Config, batch *train.Batch, steps int) error {
	var unrecorded error
	stepper := train.NewStepper(s, cfg, m, func(why error) { unrecorded = why })
	if cfg.Train.CacheFeatures != "off" {
		batch.Features = stepper.Pack(s, batch.Batch)
	}
	it := max(0, cfg.Train.HardWarmup-20) // on a device, the steps that are timed come after it
	step := func(s *tensor.Scope, _ int) {
		stepper.Step(s, batch, it).Floats() // waits for the device
		it++
	}
	if err := t.measure(s, steps, step); err != nil {
		return err
	}
	if unrecorded != nil {
		return fmt.Errorf("cuda_graph: %w; --set cuda_graph=false measures without", unrecorded)
	}
	times, last := map[string][]float64{}, time.Time{}
	stepper.Mark = func(phase string) {
		tensor.Zeros(s, t.device, tensor.Float, 1).Item()
		times[phase] = append(times[phase], time.Since(last).Seconds())
		last = time.Now()
	}
	for i := range min(steps, 5) {
		s.Local(func(s *tensor.Scope) *tensor.Tensor {
			last = time.Now()
			step(s, i)
			return nil
		})
	}
	for phase, seconds := range times {
		t.phases[phase] = median(seconds)
	}
	return nil
}

// measure takes the seconds of n calls of f and the peak of memory, after what is
// recorded on a device has been recorded.
func (t *timing) measure(s *tensor.Scope, n int, f func(s *tensor.Scope, i int)) (err error) {
	if t.device != tensor.CPU {
		timedIn(s, 30, f)
	}
	t.seconds = timedIn(s, n, f)
	_, t.peak, err = use(t.device, false)
	return err
}

// timed returns the seconds of each of n calls of f, after two to warm up.
func timed(n int, f func(i int) error) (seconds []float64, err error) {
	for i := range n + 2 {
		start := time.Now()
		if err := f(i); err != nil {
			return nil, err
		}
		if i >= 2 {
			seconds = append(seconds, time.Since(start).Seconds())
		}
	}
	return seconds, nil
}

// timedIn is timed with a scope of its own for each call.
func timedIn(s *tensor.Scope, n int, f func(s *tensor.Scope, i int)) []float64 {
	seconds, _ := timed(n, func(i int) error {
		s.Local(func(s *tensor.Scope) *tensor.Tensor { f(s, i); return nil })
		return nil
	})
	return seconds
}

// productRate is the rate of a product of two square matrices, in
// floating-point operations a second.
func productRate(s *tensor.Scope, d tensor.Device, precision string) float64 {
	n := int64(1024)
	if d != tensor.CPU {
		n = 8192
	}
	dtype := tensor.Float
	if precision == "bf16" {
		dtype = tensor.BFloat16
	}
	x := tensor.Rand(s, d, n, n).To(s, dtype)
	seconds := timedIn(s, 5, func(s *tensor.Scope, _ int) {
		x.Matmul(s, x).Select(s, 0, 0).Select(s, 0, 0).Item()
	})
	return 2 * float64(n*n*n) / slices.Min(seconds)
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
