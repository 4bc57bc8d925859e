package doctor

import (
	"fmt"
	"strings"
	"time"

	"mvag-torch/configs"
	"mvag-torch/internal/machine"
	"mvag-torch/model/weights"
)

// Estimate is the time and memory that training takes, scaled from the steps of the probe (docs/doctor.md):
//
//	step   = smoke.Seconds · Work(cfg) / Work(smoke)
//	memory = smoke.Still + moments + (smoke.Peak - smoke.Still - moments) · tokens(cfg) / tokens(smoke)
//
// with moments the 16 bytes that gradient and optimiser keep for each trainable parameter. Images are decoded in
// parallel to the steps and not counted.
type Estimate struct {
	Device     string  `json:"device"`
	Step       float64 `json:"step_seconds"`
	Run        float64 `json:"run_seconds"`
	Memory     uint64  `json:"memory_bytes"`     // of the device
	Checkpoint uint64  `json:"checkpoint_bytes"` // of the file
}

// estimate scales the measured step of the device that cfg names; ok is false if that has none.
func estimate(cfg configs.Config, arch weights.Arch, p *Probe) (e Estimate, ok bool) {
	var smoke *Smoke
	for i := range p.Smoke {
		s := &p.Smoke[i]
		if s.Error == "" && (s.Device == "cpu") == (cfg.Device == "cpu" || len(p.Smoke) == 1) {
			smoke = s
		}
	}
	if smoke == nil {
		return Estimate{}, false
	}
	small := SmokeConfig(cfg, arch, smoke.Device == "cpu")
	small.Train.CacheFeatures = "off" // the probe takes steps on images
	wanted, _ := Work(cfg, arch)
	had, _ := Work(small, arch)
	const float32Bytes = 4
	moments := 4 * float32Bytes * smoke.Trainable
	var activations uint64
	if still := smoke.Still + moments; smoke.Peak > still {
		activations = smoke.Peak - still
	}
	e = Estimate{
		Device: smoke.Device,
		Step:   smoke.Seconds * wanted / had,
		Memory: smoke.Still + moments + uint64(float64(activations)*tokens(cfg, arch)/tokens(small, arch)),
		// The trainable parameters and three moments of each.
		Checkpoint: 4 * float32Bytes * smoke.Trainable,
	}
	e.Run = e.Step * float64(cfg.Train.Iterations)
	return e, true
}

// tokens counts the tokens of a batch, B·N.
func tokens(cfg configs.Config, arch weights.Arch) float64 {
	patches := (cfg.Data.Crop.Height() / arch.Patch) * (cfg.Data.Crop.Width() / arch.Patch)
	return float64(cfg.Train.Objects * cfg.Data.Views * (patches + 1 + arch.Registers))
}

// Work counts the floating-point operations of the matrix multiplications in a training step, and in inference on the
// same images (docs/doctor.md). Backward takes twice what forward takes. With train.cache_features a step does not run
// the encoder.
func Work(cfg configs.Config, arch weights.Arch) (step, inference float64) {
	layers := cfg.Backbone.Layers
	if len(layers) == 0 {
		layers = arch.DefaultLayers()
	}
	all, c, views := tokens(cfg, arch), float64(arch.Dim), float64(cfg.Data.Views)
	d := c / float64(arch.Heads)
	n := all / float64(cfg.Train.Objects) / views
	const linears = 24 // 2·(3 + 1 + 4 + 4) for qkv, proj and the two layers of the MLP, each of C·C

	encoder := float64(layers[len(layers)-1]+1)*all*(linears*c*c+4*n*c) + 2*all*3*float64(arch.Patch*arch.Patch)*c
	bottleneck := 16 * all * c * c
	own := 4 * c * d
	if cfg.Model.NeighborMask > 0 {
		own = 4 * n * c
	}
	across := 0.0
	if views > 1 {
		across = 6*c*c + 2*views*c + 2*views*c*d // qkv again, similarity, the sum over views
	}
	decoder := float64(cfg.Model.DecoderDepth) * all * (linears*c*c + own + across)
	step, inference = encoder+3*(bottleneck+decoder), encoder+bottleneck+decoder
	if cfg.Train.CachesFeatures() {
		step -= encoder
	}
	return step, inference
}

// check compares the estimate with the memory of the device.
func (e Estimate) check(host machine.Memory, p *Probe) Check {
	c := Check{"estimate", OK, fmt.Sprintf("training on %s: %.2f s a step, %s in all; %s of memory; checkpoint %s",
		e.Device, e.Step, duration(e.Run), machine.Size(e.Memory), machine.Size(e.Checkpoint)), ""}
	total, free := host.Total, host.Free
	if e.Device != "cpu" {
		var index int
		if _, err := fmt.Sscanf(strings.TrimPrefix(e.Device, "cuda:"), "%d", &index); err != nil || index >= len(p.CUDA.Devices) {
			return c
		}
		total, free = p.CUDA.Devices[index].Memory, p.CUDA.Devices[index].Free
	}
	const smaller = "lower train.objects or data.crop, or use a smaller backbone"
	switch {
	case total > 0 && e.Memory > total:
		c.Status, c.Remedy = Fail, fmt.Sprintf("have %s of memory: %s", machine.Size(total), smaller)
	case total > 0 && e.Memory > free:
		c.Status, c.Remedy = Warn, fmt.Sprintf("have %s of %s of memory free: end other programs, or %s", machine.Size(free), machine.Size(total), smaller)
	}
	return c
}

// duration formats a time in seconds.
func duration(seconds float64) string {
	if seconds > 48*3600 {
		return fmt.Sprintf("%.1f days", seconds/86400)
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}
