package doctor

import (
	"fmt"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/model/weights"
)

// Probe is what a program with LibTorch reports.
type Probe struct {
	LibTorch string  `json:"libtorch"` // its folder
	Version  string  `json:"version"`
	Threads  int     `json:"threads"`
	CUDA     CUDA    `json:"cuda"`
	Smoke    []Smoke `json:"smoke"`    // the CPU, then the CUDA device if there is one
	Backbone string  `json:"backbone"` // what is wrong with the weights file, "" if nothing
}

// CUDA is the state of CUDA.
type CUDA struct {
	Error   string   `json:"error"`  // why LibTorch's CUDA libraries cannot be loaded, "" if they can
	Driver  int      `json:"driver"` // the newest CUDA that the driver supports, 12040 for 12.4; 0 without a driver
	Devices []Device `json:"devices"`
}

// Device is a CUDA device.
type Device struct {
	Name       string `json:"name"`
	Capability string `json:"capability"` // 9.0
	Memory     uint64 `json:"memory"`     // bytes
	Free       uint64 `json:"free"`
}

// tooOld says whether the GPU is below compute capability 7.5.
func (d Device) tooOld() bool {
	major, minor, _ := strings.Cut(d.Capability, ".")
	return len(major) < 2 && major+"."+minor < "7.5"
}

// Smoke is the outcome of a few training steps with random weights and images.
type Smoke struct {
	Device    string       `json:"device"`
	Precision string       `json:"precision"` // that of the configuration
	Kernels   string       `json:"kernels"`   // which operations the program's own CUDA kernels compute; "" on the CPU
	Warning   string       `json:"warning"`   // what training would warn of, "" if nothing
	Crop      configs.Size `json:"crop"`
	Objects   int          `json:"objects"`
	Seconds   float64      `json:"seconds"`   // of the fastest step
	Still     uint64       `json:"still"`     // bytes in use before the first step
	Peak      uint64       `json:"peak"`      // most bytes in use until after the last step
	Trainable uint64       `json:"trainable"` // trainable parameters
	Error     string       `json:"error"`     // what went wrong, "" if nothing
}

// SmokeConfig is the configuration of these steps. On a GPU it is cfg. On the CPU a batch is one object with small
// images, so that the steps take seconds; a TorchScript archive keeps its image size.
func SmokeConfig(cfg configs.Config, arch weights.Arch, cpu bool) configs.Config {
	if cpu {
		cfg.Train.Objects = 1
	}
	if cpu && arch.Module == nil {
		for i, side := range cfg.Data.Crop {
			cfg.Data.Crop[i] = min(side, 8*arch.Patch)
		}
		cfg.Data.Resize = cfg.Data.Crop
	}
	return cfg
}

// check reports on the steps.
func (s Smoke) check() Check {
	c := Check{"step " + s.Device, OK, fmt.Sprintf("%.2f s for %d object(s) at %v pixels in %s", s.Seconds, s.Objects, s.Crop, s.Precision), ""}
	if s.Kernels != "" {
		c.Detail += "; " + s.Kernels
	}
	switch {
	case s.Error != "":
		c.Status, c.Detail = Fail, s.Error
		c.Remedy = "LibTorch does not work on this device: see the lines above; if they are ok, fetch LibTorch anew"
	case s.Warning != "":
		c.Status, c.Detail = Warn, c.Detail+"; "+s.Warning
		c.Remedy = "training works, but slower than it could; docs/doctor.md says what the kernels need"
	}
	return c
}
