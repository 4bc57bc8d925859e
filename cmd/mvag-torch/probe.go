package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/internal/doctor"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/weights"
	"mvag-torch/train"
)

// probeCommand is what doctor runs in a process of its own: it reads a configuration from stdin and prints a
// doctor.Probe as JSON.
func probeCommand() *cli.Command {
	return &cli.Command{
		Name:   "probe",
		Hidden: true,
		Usage:  "report on LibTorch to doctor",
		Action: func(c *cli.Context) error {
			text, err := io.ReadAll(os.Stdin)
			if err != nil {
				return err
			}
			cfg, err := configs.Parse("stdin", text)
			if err != nil {
				return usageError{err}
			}
			p, err := probe(cfg)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(p)
		},
	}
}

func probe(cfg configs.Config) (p doctor.Probe, err error) {
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		return p, err
	}
	if cfg.Threads > 0 {
		tensor.SetThreads(cfg.Threads)
	}
	p.LibTorch, p.Version = tensor.Library()
	p.Threads = tensor.Threads()
	p.CUDA.Driver = tensor.CUDADriver()
	devices := []tensor.Device{tensor.CPU}
	n, err := tensor.CUDADevices()
	if err != nil {
		p.CUDA.Error = err.Error()
	}
	for i := range n {
		name, capability, free, total, err := tensor.DeviceInfo(tensor.Device(i))
		if err != nil {
			return p, err
		}
		p.CUDA.Devices = append(p.CUDA.Devices, doctor.Device{Name: name, Capability: capability, Free: free, Memory: total})
	}
	if d, err := tensor.PickDevice(cfg.Device); err == nil && d != tensor.CPU {
		devices = append(devices, d)
	} else if n > 0 {
		devices = append(devices, 0)
	}
	for _, d := range devices {
		small := doctor.SmokeConfig(cfg, arch, d == tensor.CPU)
		small.Device = d.String()
		step := doctor.Smoke{Device: small.Device, Precision: cfg.Precision, Crop: small.Data.Crop, Objects: small.Train.Objects}
		if err := smoke(&step, small); err != nil {
			step.Error = err.Error()
		}
		p.Smoke = append(p.Smoke, step)
	}
	if err := checkBackbone(cfg, arch); err != nil {
		p.Backbone = err.Error()
	}
	return p, nil
}

// smoke takes three steps of cfg with random weights and images.
func smoke(out *doctor.Smoke, cfg configs.Config) error {
	return tensor.Run(func(s *tensor.Scope) error {
		m, err := model.OpenRandom(s, cfg)
		if err != nil {
			return err
		}
		out.Precision, out.Trainable = m.Precision, uint64(m.Params.Count())
		if m.Device != tensor.CPU {
			out.Kernels = m.Kernels.String()
			if !m.Kernels.Optimizer { // it serves every shape
				out.Warning = "none of the kernels can be used"
			}
		}
		if out.Still, _, err = use(m.Device, true); err != nil {
			return err
		}
		batch, stepper := randomBatch(cfg, 1, 1), train.NewStepper(s, cfg, m, nil, func(why error) { out.Warning = why.Error() })
		out.Seconds = math.Inf(1)
		for i := range 3 {
			start := time.Now()
			var loss float64
			s.Local(func(s *tensor.Scope) *tensor.Tensor {
				lossAndNorm := stepper.Step(s, &train.Batch{Batch: batch}, i)
				loss = float64(lossAndNorm.Floats()[0]) // waits for the device
				return nil
			})
			if math.IsNaN(loss) || math.IsInf(loss, 0) {
				return fmt.Errorf("loss: have %v, want a finite value", loss)
			}
			out.Seconds = min(out.Seconds, time.Since(start).Seconds())
		}
		_, out.Peak, err = use(m.Device, false)
		return err
	})
}

// use returns the bytes that are in use on d now, and the peak; reset restarts the peak of the CPU.
func use(d tensor.Device, reset bool) (now, peak uint64, err error) {
	if d != tensor.CPU {
		return tensor.DeviceUse(d)
	}
	if reset {
		debug.FreeOSMemory()
		if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // see proc(5)
			return 0, 0, err
		}
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		n, err := strconv.ParseUint(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			now = 1024 * n
		case "VmHWM:":
			peak = 1024 * n
		default:
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/self/status: %w", err)
		}
	}
	return now, peak, nil
}

// checkBackbone reads the weights and compares them with the architecture.
func checkBackbone(cfg configs.Config, arch weights.Arch) error {
	if arch.Module != nil {
		return nil // the steps have run it
	}
	m, _, err := model.LoadBackbone(cfg.Backbone.Weights, cfg.Backbone.Prefix)
	if err != nil {
		return err
	}
	layers, _, err := model.Layers(cfg, arch)
	if err == nil {
		err = arch.Check(m.Shapes(), layers[len(layers)-1])
	}
	if err == nil {
		err = m.CheckFinite()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", cfg.Backbone.Weights, err)
	}
	return nil
}
