package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/doctor"
	"mvag-torch/internal/ranks"
	"mvag-torch/internal/team"
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
		Usage: "time a training step, inference, the loader or the metrics on random images, weights and maps; prints one JSON line",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "size", Value: "s224", Usage: "s224, s392 or b392: ViT-S or ViT-B and the image size in pixels"},
			&cli.StringFlag{Name: "what", Value: "train", Usage: "train, infer, loader or metrics"},
			&cli.StringFlag{Name: "device", Value: "cpu", Usage: "auto, cpu, cuda or cuda:N"},
			&cli.IntFlag{Name: "threads", Usage: "CPU threads of LibTorch; 0 means its default"},
			&cli.IntFlag{Name: "steps", Value: 5, Usage: "timed steps, after two warm-up steps"},
			&cli.IntFlag{Name: "processes", Usage: "time training steps of `N` processes together, 1 included, which tells what their communication takes"},
			waitFlag, setFlag,
		},
		Action: inTeam(func(*cli.Context) error { return nil }, bench),
	}
}

func bench(c *cli.Context, tm *team.Team) error {
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
	if cfg.Train.CacheFeatures == configs.Auto {
		cfg.Train.CacheFeatures = "off"
	}
	if c.IsSet("processes") && what != "train" {
		return usageError{fmt.Errorf("%s: have --processes and --what %s, want --what train", c.Command.HelpName, what)}
	}
	if err := divides(cfg, tm); err != nil {
		return err
	}
	if tm == nil && c.Int("processes") == 1 {
		if tm, err = teamOfOne(c.Context); err != nil {
			return err
		}
		defer func() {
			if c.Context.Err() == nil { // else a step may still use it
				_ = tm.Leave() // of nobody else
			}
		}()
	}
	line := map[string]any{
		"program": "mvag-torch " + version, "size": c.String("size"), "what": what, "cpus": runtime.NumCPU(), "processes": tm.Size(),
	}
	switch what {
	case "loader", "metrics":
		err = benchPart(c.Context, cfg, what, steps, line)
	default:
		err = promptly(c.Context, func() error { return benchModel(cfg, tm, what == "train", steps, line) })
	}
	if err != nil || tm.Rank() > 0 {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(line)
}

// benchModel adds to the line what is measured of training steps or inference.
func benchModel(cfg configs.Config, tm *team.Team, training bool, steps int, line map[string]any) error {
	t, err := timeSteps(cfg, tm, training, steps)
	if err != nil {
		return err
	}
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return err
	}
	work, inference := doctor.Work(cfg, arch)
	if !training {
		work = inference * float64(len(dataset.NewFit(cfg.Data).Tiles()))
	}
	work /= float64(tm.Size()) // of this process
	images := cfg.Train.Objects * cfg.Data.Views
	maps.Copy(line, map[string]any{
		"device": t.device.String(), "kernels": t.kernels, "precision": t.precision, "cache_features": cfg.Train.CacheFeatures,
		"cuda_graph": cfg.CUDAGraph, "threads": tensor.Threads(), "images": images, "images_per_second": float64(images) / median(t.seconds),
		"seconds": t.seconds, "phases": t.phases, "peak_bytes": t.peak,
		// As a fraction of what the device reaches in one large matmul of the same precision.
		"fraction_of_matmul_rate": work / median(t.seconds) / t.rate, "matmul_flops": t.rate, "step_flop": work,
	})
	return nil
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	return sorted[len(sorted)/2]
}

// timing is what timeSteps measures.
type timing struct {
	device    tensor.Device
	kernels   string // what computes the model
	precision string
	seconds   []float64          // of each step
	phases    map[string]float64 // median seconds; the device is waited for after each phase, so that their sum exceeds a step
	rate      float64            // floating-point operations per second of a large matmul
	peak      uint64             // bytes in use
}

func timeSteps(cfg configs.Config, tm *team.Team, training bool, steps int) (timing, error) {
	t := timing{phases: map[string]float64{}}
	return t, tensor.Run(func(s *tensor.Scope) error {
		m, err := model.OpenRandom(s, cfg)
		if err != nil {
			return err
		}
		tiles := 1 // of training, each is an image
		if !training {
			tiles = len(dataset.NewFit(cfg.Data).Tiles())
		}
		cfg.Precision = m.Precision
		t.device, t.kernels, t.precision = m.Device, m.Kernels.String(), m.Precision
		fmt.Fprintln(os.Stderr, t.kernels)
		var missed error // no graph was captured
		fail := func(why error) { missed = fmt.Errorf("cuda_graph: %w; --set cuda_graph=false measures without", why) }
		if err := tm.Group().Use(m.Device); err != nil {
			return err
		}
		batch := &train.Batch{Batch: randomBatch(cfg, tm.Size(), tiles)}
		if training {
			err = t.train(s, train.NewStepper(s, cfg, m, tm.Group(), fail), cfg, batch, steps)
		} else {
			predictor := model.NewPredictor(s, m, nil, cfg, fail)
			err = t.measure(s, steps, func(s *tensor.Scope, _ int) { predictor.Predict(s, batch.Batch) })
		}
		t.rate = matmulRate(s, t.device, cfg.Precision)
		return errors.Join(err, missed)
	})
}

// train times whole steps, then steps by their phases, which are not replayed.
func (t *timing) train(s *tensor.Scope, stepper *train.Stepper, cfg configs.Config, batch *train.Batch, steps int) error {
	if cfg.Train.CachesFeatures() {
		batch.Features = stepper.Model.PackImages(s, batch.Batch.Pixels, len(batch.Batch.Present))
	}
	it := max(0, cfg.Train.HardWarmup-20) // on a device, the steps that are timed come after it
	step := func(s *tensor.Scope, _ int) {
		stepper.Step(s, batch, it).Floats() // waits for the device
		it++
	}
	if err := t.measure(s, steps, step); err != nil {
		return err
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

// measure takes the seconds of n calls of f and the peak of memory, after a GPU's graphs have been captured.
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

// matmulRate is the rate of a matmul of two square matrices in floating-point operations per second.
func matmulRate(s *tensor.Scope, d tensor.Device, precision string) float64 {
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

// divides refuses a batch that the processes cannot have equal parts of.
func divides(cfg configs.Config, tm *team.Team) error {
	if cfg.Train.Objects%tm.Size() != 0 {
		return fmt.Errorf("train.objects: have %d, want a multiple of the %d ranks", cfg.Train.Objects, tm.Size())
	}
	return nil
}

// teamOfOne is this process alone with all that a team does.
func teamOfOne(ctx context.Context) (*team.Team, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	return team.Join(ctx, &ranks.Place{Size: 1, LocalSize: 1, Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port,
		Listener: int(socket.Fd()), Launcher: "mvag-torch"}, team.Options{Version: version, Wait: team.DefaultWait})
}

// randomBatch is the part of one of so many processes of a batch of train.objects objects whose views have so many
// tiles.
func randomBatch(cfg configs.Config, processes, tiles int) *dataset.Batch {
	objects := cfg.Train.Objects / processes
	b := &dataset.Batch{Views: cfg.Data.Views, Tiles: tiles, Objects: make([]*dataset.Object, objects)}
	n := objects * cfg.Data.Views
	b.Pixels, b.Present = make([]uint8, n*tiles*3*cfg.Data.Crop.Area()), make([]bool, n)
	b.Content = slices.Repeat([]image.Rectangle{cfg.Data.Viewport().Bounds()}, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b.Pixels {
		b.Pixels[i] = uint8(rng.Uint32())
	}
	for i := range b.Present {
		b.Present[i] = true
	}
	return b
}
