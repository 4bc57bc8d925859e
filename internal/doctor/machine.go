package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"mvag-torch/configs"
	"mvag-torch/internal/machine"
)

func processor() Check {
	c := Check{"processor", OK, fmt.Sprintf("%d threads", runtime.GOMAXPROCS(0)), ""} // within the control group's quota
	switch {
	case cpu.X86.HasAVX512F:
		c.Detail += ", AVX-512"
	case cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		c.Detail += ", AVX2"
	default:
		c.Status, c.Remedy = Warn, "have neither AVX2 nor AVX-512: training is several times slower than on a processor that has"
	}
	return c
}

// memoryCheck compares the free memory with what the smallest model takes.
func memoryCheck(m machine.Memory) Check {
	const least = 2e9 // LibTorch and a small model
	c := Check{"memory", OK, fmt.Sprintf("%s free of %s", machine.Size(m.Free), machine.Size(m.Total)), ""}
	if m.Free < least {
		c.Status, c.Remedy = Warn, fmt.Sprintf("end other programs: the smallest model wants %s", machine.Size(uint64(least)))
	}
	return c
}

// driver is what the kernel tells of NVIDIA's driver.
type driver struct {
	version string // "" without driver
	cards   []string
}

var (
	driverVersion = regexp.MustCompile(`Kernel Module.*?\s(\d+\.\d+[.\d]*)`)
	cardModel     = regexp.MustCompile(`(?m)^Model:\s*(.*?)\s*$`)
)

// readDriver reads the folder /proc/driver/nvidia.
func readDriver(dir string) driver {
	var d driver
	text, err := os.ReadFile(filepath.Join(dir, "version"))
	if m := driverVersion.FindSubmatch(text); err == nil && m != nil {
		d.version = string(m[1])
	}
	cards, _ := filepath.Glob(filepath.Join(dir, "gpus", "*", "information")) // the pattern is right
	for _, card := range cards {
		text, err := os.ReadFile(card)
		if m := cardModel.FindSubmatch(text); err == nil && m != nil {
			d.cards = append(d.cards, string(m[1]))
		}
	}
	return d
}

// graphics reports on CUDA; what does not work fails where the configuration
// asks for CUDA.
func graphics(d driver, p *Probe, device string) Check {
	c := Check{Name: "cuda", Status: OK}
	trouble := Warn
	if strings.HasPrefix(device, "cuda") {
		trouble = Fail
	}
	seen := fmt.Sprintf("driver %s, cards %q", d.version, d.cards)
	switch {
	case d.version == "" && (p == nil || p.CUDA.Driver == 0):
		c.Detail = "no NVIDIA driver: training uses the processor"
		if trouble == Fail {
			c.Status, c.Detail = Fail, fmt.Sprintf("no NVIDIA driver, and device is %q", device)
			c.Remedy = "install the driver (docker run: --gpus all), or set device: auto"
		}
	case p == nil:
		c.Detail = seen
	case p.CUDA.Error != "":
		c.Status, c.Detail, c.Remedy = trouble, seen+"; LibTorch's CUDA libraries do not load: "+p.CUDA.Error, "run third_party/libtorch.sh --cuda, or use the CUDA image"
	case len(p.CUDA.Devices) == 0:
		c.Status, c.Detail = trouble, seen+", of which LibTorch sees none"
		c.Remedy = "check nvidia-smi, CUDA_VISIBLE_DEVICES and docker run --gpus all; LibTorch " + p.Version + " wants a driver for CUDA 13.0 (580 or newer)"
	default:
		var devices []string
		for i, g := range p.CUDA.Devices {
			devices = append(devices, fmt.Sprintf("cuda:%d %s, compute capability %s, %s free of %s", i, g.Name, g.Capability, machine.Size(g.Free), machine.Size(g.Memory)))
		}
		c.Detail = fmt.Sprintf("%s; driver %s for CUDA %d.%d", strings.Join(devices, "; "), d.version, p.CUDA.Driver/1000, p.CUDA.Driver%1000/10)
	}
	return c
}

// disk checks the place of the run folders: the checkpoint is written beside
// its predecessor.
func disk(cfg configs.Config, e *Estimate) Check {
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
		c.Status, c.Remedy = Fail, fmt.Sprintf("want %s for two checkpoints: make room, or set output to another folder", machine.Size(2*e.Checkpoint))
	}
	return c
}
