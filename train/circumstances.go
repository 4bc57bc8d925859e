package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"mvag-torch/internal/machine"
	"mvag-torch/internal/printable"
	"mvag-torch/internal/tensor"
)

// Circumstances are what the bits of a run depend on besides its configuration: two runs with the same ones, seed and
// data have the same results, on a GPU with deterministic. Of several ranks they are those of rank 0.
type Circumstances struct {
	Program      string `json:"program"` // version of mvag-torch
	LibTorch     string `json:"libtorch"`
	Device       string `json:"device"`       // cpu, or the name of the GPU, its compute capability and the CUDA of its driver
	CPU          string `json:"cpu"`          // model
	Instructions string `json:"instructions"` // that LibTorch uses on it
	Threads      int    `json:"threads"`      // of LibTorch
	Ranks        int    `json:"ranks"`
	Kernels      string `json:"kernels"`

	Precision     string `json:"precision"`
	Deterministic bool   `json:"deterministic"`
	Seed          int64  `json:"seed"`
	Backbone      string `json:"backbone_sha256"`
	Data          string `json:"data"` // hash of the lists of training objects
}

func (r *run) circumstances() Circumstances {
	_, libtorch := tensor.Library()
	c := Circumstances{
		Program: r.program, LibTorch: libtorch, Device: "cpu", CPU: machine.CPU(), Instructions: tensor.CPUCapability(),
		Threads: tensor.Threads(), Ranks: r.team.Size(), Kernels: r.stepper.Model.Kernels.String(),
		Precision: r.cfg.Precision, Deterministic: r.cfg.Deterministic, Seed: r.cfg.Seed, Backbone: r.backbone,
	}
	if r.device != tensor.CPU {
		cuda := tensor.CUDADriver()
		c.Device = fmt.Sprintf("%v, driver for CUDA %d.%d", r.device, cuda/1000, cuda%1000/10)
		if name, capability, _, _, err := tensor.DeviceInfo(r.device); err == nil {
			c.Device = fmt.Sprintf("%s, compute capability %s, driver for CUDA %d.%d", name, capability, cuda/1000, cuda%1000/10)
		}
	}
	lists, err := json.Marshal(r.lists) // sorted by class
	if err == nil {
		sum := sha256.Sum256(lists)
		c.Data = hex.EncodeToString(sum[:8])
	}
	return c
}

// Differences lists in what c differs from earlier ones, which may be nil, in words: "threads 2, was 4".
func (c Circumstances) Differences(earlier *Circumstances) (list []string) {
	if earlier == nil {
		return nil
	}
	now, then := reflect.ValueOf(c), reflect.ValueOf(*earlier)
	for i := range now.NumField() {
		if a, b := now.Field(i).Interface(), then.Field(i).Interface(); a != b {
			name := strings.ReplaceAll(now.Type().Field(i).Tag.Get("json"), "_", " ")
			was := printable.Line(fmt.Sprintf("%.200s", fmt.Sprint(b))) // as the journal has it, whoever wrote that
			list = append(list, fmt.Sprintf("%s %v, was %s", name, a, was))
		}
	}
	return list
}
