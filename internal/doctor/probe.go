package doctor

import (
	"fmt"

	"mvag-torch/configs"
	"mvag-torch/model/weights"
)

// Probe is what a program with LibTorch finds out.
type Probe struct {
	LibTorch string  `json:"libtorch"` // the folder that it lies in
	Version  string  `json:"version"`
	Threads  int     `json:"threads"`
	CUDA     CUDA    `json:"cuda"`
	Smoke    []Smoke `json:"smoke"`    // the CPU, then the CUDA device if there is one
	Backbone string  `json:"backbone"` // what is wrong with the file of weights, "" if nothing
}

// CUDA is the state of CUDA.
type CUDA struct {
	Error   string   `json:"error"`  // why LibTorch's CUDA libraries do not load, "" if they do
	Driver  int      `json:"driver"` // the newest CUDA that the driver serves, 12040 for 12.4; 0 without driver
	Devices []Device `json:"devices"`
}

// Device is a CUDA device.
type Device struct {
	Name       string `json:"name"`
	Capability string `json:"capability"` // 9.0
	Memory     uint64 `json:"memory"`     // bytes
	Free       uint64 `json:"free"`
}

// Smoke is the outcome of a few steps of training with random weights and
// pictures.
type Smoke struct {
	Device    string  `json:"device"`
	Crop      int     `json:"crop"`
	Objects   int     `json:"objects"`
	Seconds   float64 `json:"seconds"`   // of the fastest step
	Still     uint64  `json:"still"`     // bytes in use before the first step
	Peak      uint64  `json:"peak"`      // most bytes in use up to the last
	Trainable uint64  `json:"trainable"` // trainable numbers
	Error     string  `json:"error"`     // what went wrong, "" if nothing
}

// SmokeConfig is the configuration of the steps: cfg's model, on the CPU with
// small pictures of one object so that they take seconds, not minutes. The size
// of the pictures of an archive that is run stays.
func SmokeConfig(cfg configs.Config, arch weights.Arch, cpu bool) configs.Config {
	if cpu {
		cfg.Train.Objects = 1
	}
	if cpu && arch.Module == nil {
		cfg.Data.Crop = min(cfg.Data.Crop, 8*arch.Patch)
		cfg.Data.Resize = cfg.Data.Crop
	}
	return cfg
}

func (s Smoke) check() Check {
	name := "step " + s.Device
	if s.Error != "" {
		return Check{name, Fail, s.Error, "LibTorch does not work on this device: see the lines above; if they are ok, fetch LibTorch anew"}
	}
	return Check{name, OK, fmt.Sprintf("%.2f s for %d object(s) at %d pixels", s.Seconds, s.Objects, s.Crop), ""}
}
