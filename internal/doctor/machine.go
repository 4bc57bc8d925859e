package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"mvag-torch/configs"
	"mvag-torch/internal/machine"
)

func cpuCheck() Check {
	c := Check{"cpu", OK, fmt.Sprintf("%d threads", runtime.GOMAXPROCS(0)), ""} // within the control group's quota
	switch {
	case cpu.X86.HasAVX512F:
		c.Detail += ", AVX-512"
	case cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		c.Detail += ", AVX2"
	default:
		c.Status, c.Remedy = Warn, "this CPU has neither AVX2 nor AVX-512: training takes several times as long as on one that has"
	}
	return c
}

// memoryCheck compares the free memory with what the smallest model needs.
func memoryCheck(m machine.Memory) Check {
	const least = 2e9 // LibTorch and a small model
	c := Check{"memory", OK, fmt.Sprintf("%s free of %s", machine.Size(m.Free), machine.Size(m.Total)), ""}
	if m.Free < least {
		c.Status, c.Remedy = Warn, fmt.Sprintf("end other programs: the smallest model needs %s", machine.Size(uint64(least)))
	}
	return c
}

// driver describes NVIDIA's driver.
type driver struct {
	version string // "" if there is none
	gpus    []string
}

var (
	driverVersion = regexp.MustCompile(`Kernel Module.*?\s(\d+\.\d+[.\d]*)`)
	gpuModel      = regexp.MustCompile(`(?m)^Model:\s*(.*?)\s*$`)
)

// readDriver reads the folder /proc/driver/nvidia.
func readDriver(dir string) driver {
	var d driver
	text, err := os.ReadFile(filepath.Join(dir, "version"))
	if m := driverVersion.FindSubmatch(text); err == nil && m != nil {
		d.version = string(m[1])
	}
	files, _ := filepath.Glob(filepath.Join(dir, "gpus", "*", "information")) // the pattern is right
	for _, file := range files {
		text, err := os.ReadFile(file)
		if m := gpuModel.FindSubmatch(text); err == nil && m != nil {
			d.gpus = append(d.gpus, string(m[1]))
		}
	}
	return d
}

// cudaCheck reports on CUDA. What does not work is a failure if the configuration asks for CUDA, else a warning.
func cudaCheck(d driver, p *Probe, device string) Check {
	c := Check{Name: "cuda", Status: OK}
	trouble := Warn
	if strings.HasPrefix(device, "cuda") {
		trouble = Fail
	}
	seen := fmt.Sprintf("driver %s, GPUs %q", d.version, d.gpus)
	switch {
	case d.version == "" && (p == nil || p.CUDA.Driver == 0):
		c.Detail = "no NVIDIA driver: training uses the CPU"
		if trouble == Fail {
			c.Status, c.Detail = Fail, fmt.Sprintf("no NVIDIA driver, and device is %q", device)
			c.Remedy = "install the driver (docker run: --gpus all), or set device: auto"
		}
	case p == nil:
		c.Detail = seen
	case p.CUDA.Error != "":
		c.Status, c.Detail, c.Remedy = trouble, seen+"; LibTorch's CUDA libraries do not load: "+p.CUDA.Error, "run third_party/libtorch.sh --cuda, or use the CUDA image"
	case len(p.CUDA.Devices) == 0:
		c.Status, c.Detail = trouble, seen+"; LibTorch sees none"
		c.Remedy = "check nvidia-smi, CUDA_VISIBLE_DEVICES and docker run --gpus all; LibTorch " + p.Version + " wants a driver for CUDA 13.0 (580 or newer)"
	default:
		var devices []string
		for i, g := range p.CUDA.Devices {
			devices = append(devices, fmt.Sprintf("cuda:%d %s, compute capability %s, %s free of %s", i, g.Name, g.Capability, machine.Size(g.Free), machine.Size(g.Memory)))
		}
		c.Detail = fmt.Sprintf("%s; driver %s for CUDA %d.%d", strings.Join(devices, "; "), d.version, p.CUDA.Driver/1000, p.CUDA.Driver%1000/10)
		if slices.ContainsFunc(p.CUDA.Devices, Device.tooOld) {
			c.Status, c.Remedy = trouble, "take a GPU of compute capability 7.5 (Turing) or more: LibTorch "+p.Version+" and the kernels need it"
		}
	}
	return c
}

// diskCheck looks at the folder that will hold the run folders. A checkpoint is written before the one it replaces is
// removed, so there must be room for two.
func diskCheck(cfg configs.Config, e *Estimate) Check {
	c := Check{Name: "disk", Status: OK}
	dir, err := filepath.Abs(cfg.Output)
	if err != nil {
		return Check{"disk", Fail, oneLine(err), "go to a folder that exists"}
	}
	dir = machine.Nearest(dir)
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return Check{"disk", Fail, fmt.Sprintf("output: %s: %v", dir, err), "make it writable, or set output to another folder"}
	}
	free, err := machine.DiskFree(dir)
	if err != nil {
		return Check{"disk", Fail, fmt.Sprintf("output: %v", err), "set output to another folder"}
	}
	c.Detail = fmt.Sprintf("%s free for run folders in %s", machine.Size(free), dir)
	if e != nil && free < 2*e.Checkpoint {
		c.Status, c.Remedy = Fail, fmt.Sprintf("two checkpoints take %s: make room, or set output to another folder", machine.Size(2*e.Checkpoint))
	}
	return c
}
