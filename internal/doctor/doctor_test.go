package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset/demo"
	"mvag-torch/internal/libtorch"
	"mvag-torch/model/weights"
)

// site is a machine on which all is well: a rendered data set, weights, and a configuration that names them.
type site struct{ dir, config string }

func newSite(t *testing.T) site {
	t.Helper()
	p := site{dir: t.TempDir()}
	set, err := rendered()
	if err == nil {
		err = os.CopyFS(p.at("data"), os.DirFS(set))
	}
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "w.safetensors", "weights")
	p.config = p.at("c.yaml")
	p.write(t, "c.yaml", fmt.Sprintf("output: %q\nbackbone: {name: vit_small_patch14_dinov2, weights: %q}\ndata: {root: %q, images: realiad_demo, resize: 64, crop: 56}\n",
		p.at("runs"), p.at("w.safetensors"), p.at("data")))
	return p
}

// rendered renders the data set once; TestMain removes it.
var rendered = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "doctor")
	if err == nil {
		_, err = demo.Render(context.Background(), demo.Options{Out: filepath.Join(dir, "data"), Size: 64, Train: 2, Good: 1, Bad: 1, Seed: 1}, nil)
	}
	return filepath.Join(dir, "data"), err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := rendered(); err == nil {
		_ = os.RemoveAll(filepath.Dir(dir)) // a folder for temporary files
	}
	os.Exit(code)
}

func (p site) at(name string) string { return filepath.Join(p.dir, name) }

func (p site) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(p.at(name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// find returns a file of the data set with the given ending.
func (p site) find(t *testing.T, ending string) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(p.at("data"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ending) {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("%v, have no *%s", err, ending)
	}
	return found
}

func healthy() Probe {
	return Probe{
		LibTorch: "/opt/torch", Version: libtorch.Version, Threads: 2,
		Smoke: []Smoke{{Device: "cpu", Crop: configs.Square(56), Objects: 1, Seconds: 0.1, Still: 1e8, Peak: 1.1e9, Trainable: 1e7}},
	}
}

func examine(t *testing.T, p site, probe Probe, sets ...string) Report {
	t.Helper()
	return Examine(context.Background(), Patient{Version: "1.0", Config: p.config, Sets: sets,
		Probe: func(context.Context, configs.Config) (Probe, error) { return probe, nil }})
}

func TestHealthy(t *testing.T) {
	r := examine(t, newSite(t), healthy())
	names := map[string]bool{}
	for _, c := range r.Checks {
		names[c.Name] = true
		if c.Status == Fail {
			t.Errorf("have %+v", c)
		}
	}
	for _, name := range []string{"config", "libtorch", "cpu", "memory", "cuda", "step cpu", "backbone", "data", "estimate", "disk"} {
		if !names[name] {
			t.Errorf("have no check %q in %+v", name, r.Checks)
		}
	}
	if r.Err() != nil || r.Estimate == nil {
		t.Errorf("have error %v, estimate %v", r.Err(), r.Estimate)
	}
	var text, asJSON bytes.Buffer
	if err := errors.Join(r.Write(&text, false), r.Write(&asJSON, true)); err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(asJSON.Bytes(), &again); err != nil || len(again.Checks) != len(r.Checks) {
		t.Errorf("JSON: %v, have %d checks", err, len(again.Checks))
	}
	if !strings.Contains(text.String(), "ok    libtorch") {
		t.Errorf("have\n%s", text.String())
	}
}

// TestEachFaultIsNamed breaks one thing at a time: that check fails, names it and says what to do, and no other check
// fails.
func TestEachFaultIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*testing.T, site, *Probe)
		sets  []string
		check string
		want  string
	}{
		"another LibTorch":      {func(_ *testing.T, _ site, q *Probe) { q.Version = "2.6.0" }, nil, "libtorch", "have 2.6.0 in /opt/torch, want " + libtorch.Version},
		"a step that fails":     {func(_ *testing.T, _ site, q *Probe) { q.Smoke[0].Error = "loss: have NaN" }, nil, "step cpu", "loss: have NaN"},
		"weights of no use":     {func(_ *testing.T, _ site, q *Probe) { q.Backbone = "w: have no fit" }, nil, "backbone", "w: have no fit"},
		"weights removed":       {func(t *testing.T, p site, _ *Probe) { remove(t, p.at("w.safetensors")) }, nil, "backbone", "w.safetensors: no such file"},
		"weights empty":         {func(t *testing.T, p site, _ *Probe) { p.write(t, "w.safetensors", "") }, nil, "backbone", "w.safetensors: EOF"},
		"index removed":         {func(t *testing.T, p site, _ *Probe) { remove(t, p.find(t, ".json")) }, []string{"data.classes=[bottle_cap, gear, hex_nut]"}, "data", `have "hex_nut", want classes of`},
		"data set elsewhere":    {func(t *testing.T, p site, _ *Probe) {}, []string{"data.root=/nowhere"}, "data", "/nowhere"},
		"a setting":             {func(t *testing.T, p site, _ *Probe) {}, []string{"train.warmup=50000"}, "config", "train.warmup: have 50000"},
		"more memory than any":  {func(_ *testing.T, _ site, q *Probe) { q.Smoke[0].Peak = 1 << 50 }, nil, "estimate", "GB of memory; checkpoint"},
		"CUDA wanted, not here": {func(t *testing.T, p site, _ *Probe) {}, []string{"device=cuda"}, "cuda", `no NVIDIA driver, and device is "cuda"`},
		"output is a file":      {func(t *testing.T, p site, _ *Probe) { p.write(t, "runs", "") }, nil, "disk", "runs"},
		"no room":               {func(_ *testing.T, _ site, q *Probe) { q.Smoke[0].Trainable, q.Smoke[0].Peak = 1<<44, 0 }, nil, "disk", "free for run folders"},
	} {
		t.Run(name, func(t *testing.T) {
			p, probe := newSite(t), healthy()
			test.spoil(t, p, &probe)
			r := examine(t, p, probe, test.sets...)
			found := false
			for _, c := range r.Checks {
				switch {
				case c.Name == test.check:
					found = true
					if c.Status != Fail || !strings.Contains(c.Detail, test.want) || c.Remedy == "" {
						t.Errorf("have %+v, want a failure with %q and a remedy", c, test.want)
					}
				case c.Status == Fail && !(name == "no room" && c.Name == "estimate"): // what has no room has no memory either
					t.Errorf("have %+v failed beside %s", c, test.check)
				}
			}
			if !found || r.Err() == nil {
				t.Errorf("have no check %q, error %v", test.check, r.Err())
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestWithoutLibTorch: where LibTorch is at fault the rest is still examined, and no step is asked for.
func TestWithoutLibTorch(t *testing.T) {
	r := Examine(context.Background(), Patient{Config: newSite(t).config, Fault: errors.New("libtorch: have 2.11.0 in /x without libtorch_cpu.so; run third_party/libtorch.sh")})
	for _, c := range r.Checks {
		if (c.Status == Fail) != (c.Name == "libtorch") {
			t.Errorf("have %+v", c)
		}
		if c.Name == "libtorch" && (c.Detail != "have 2.11.0 in /x without libtorch_cpu.so" || c.Remedy != "run third_party/libtorch.sh") {
			t.Errorf("have %+v", c)
		}
	}
	failing := Patient{Probe: func(context.Context, configs.Config) (Probe, error) {
		return Probe{}, errors.New("ended with\nsignal 11")
	}}
	if c := Examine(context.Background(), failing).Checks[0]; c.Status != Fail || c.Detail != "ended with; signal 11" || c.Remedy == "" {
		t.Errorf("of a probe that died: have %+v", c)
	}
}

// TestKernelsAreNamed: the step of a GPU says which kernels run, and what training would warn of.
func TestKernelsAreNamed(t *testing.T) {
	probe := healthy()
	probe.Smoke = append(probe.Smoke, Smoke{Device: "cuda:0", Crop: configs.Square(392), Objects: 2, Seconds: 0.02, Precision: "bf16",
		Kernels: "fused attention, norms, losses, optimiser: sm_90, bf16"})
	find := func(name string) Check {
		t.Helper()
		for _, c := range examine(t, newSite(t), probe).Checks {
			if c.Name == name {
				return c
			}
		}
		t.Fatalf("have no check %q", name)
		return Check{}
	}
	want := Check{"step cuda:0", OK, "0.02 s for 2 object(s) at 392 pixels in bf16; fused attention, norms, losses, optimiser: sm_90, bf16", ""}
	if c := find("step cuda:0"); c != want {
		t.Errorf("have %+v, want %+v", c, want)
	}
	probe.Smoke[1].Warning = "the step cannot be captured: out of memory"
	if c := find("step cuda:0"); c.Status != Warn || !strings.HasSuffix(c.Detail, "; "+probe.Smoke[1].Warning) || c.Remedy == "" {
		t.Errorf("with a warning: have %+v", c)
	}
	for capability, want := range map[string]Status{"6.1": Warn, "7.0": Warn, "7.5": OK, "9.0": OK, "12.0": OK} {
		probe.CUDA = CUDA{Driver: 13000, Devices: []Device{{Name: "GPU", Capability: capability}}}
		if c := find("cuda"); c.Status != want || (c.Remedy == "") != (want == OK) {
			t.Errorf("compute capability %s: have %+v, want %s", capability, c, want)
		}
	}
}

// TestEstimateOfTheSmokeIsItself: of the configuration that was measured, the estimate is the measurement; twice the
// objects take twice the time, and twice the memory of what passes.
func TestEstimateOfTheSmokeIsItself(t *testing.T) {
	cfg := configs.Default()
	cfg.Data.Crop, cfg.Train.Objects = configs.Square(56), 1
	arch, err := weights.ParseArch("vit_small_patch14_dinov2")
	if err != nil {
		t.Fatal(err)
	}
	probe := healthy()
	s := probe.Smoke[0]
	e, ok := estimate(cfg, arch, &probe)
	if !ok || e.Step != s.Seconds || e.Memory != s.Peak || e.Checkpoint != 16*s.Trainable || e.Run != e.Step*50000 {
		t.Errorf("have %+v of %+v", e, s)
	}
	cfg.Train.Objects = 2
	twice, _ := estimate(cfg, arch, &probe)
	passing := s.Peak - s.Still - 16*s.Trainable
	if twice.Step != 2*e.Step || twice.Memory != s.Peak+passing {
		t.Errorf("of two objects: have %+v, want %v s, %d bytes", twice, 2*e.Step, s.Peak+passing)
	}
}

// TestWorkOfRectangles: work goes by the number of patches, whatever the shape.
func TestWorkOfRectangles(t *testing.T) {
	arch, err := weights.ParseArch("vit_small_patch14_dinov2")
	if err != nil {
		t.Fatal(err)
	}
	work := func(crop configs.Size) float64 {
		cfg := configs.Default()
		cfg.Data.Crop = crop
		step, _ := Work(cfg, arch)
		return step
	}
	square := work(configs.Square(112))
	if wide, tall, half := work(configs.Size{56, 224}), work(configs.Size{224, 56}), work(configs.Size{56, 112}); wide != square || tall != square || half > 0.55*square {
		t.Errorf("have %v and %v for 64 patches, %v for 32, want %v, the same, and half", wide, tall, half, square)
	}
}

func TestDriver(t *testing.T) {
	dir := t.TempDir()
	if d := readDriver(dir); d.version != "" {
		t.Errorf("have %+v, want none", d)
	}
	gpu := filepath.Join(dir, "gpus", "0000:01:00.0")
	err := errors.Join(os.MkdirAll(gpu, 0o755),
		os.WriteFile(filepath.Join(dir, "version"), []byte("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n"), 0o644),
		os.WriteFile(filepath.Join(gpu, "information"), []byte("Model: \t\t NVIDIA H100\nIRQ: 1\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	d := readDriver(dir)
	if d.version != "580.65.06" || len(d.gpus) != 1 || d.gpus[0] != "NVIDIA H100" {
		t.Errorf("have %+v", d)
	}
	probe := healthy()
	probe.CUDA = CUDA{Error: "libcublas.so.13 is missing", Driver: 13000}
	for device, want := range map[string]Status{"auto": Warn, "cuda": Fail} {
		if c := cudaCheck(d, &probe, device); c.Status != want || !strings.Contains(c.Detail, "libcublas.so.13") || c.Remedy == "" {
			t.Errorf("%s: have %+v, want %s", device, c, want)
		}
	}
	probe.CUDA = CUDA{Driver: 12040}
	if c := cudaCheck(d, &probe, "cuda"); c.Status != Fail || !strings.Contains(c.Remedy, "580") {
		t.Errorf("of an old driver: have %+v", c)
	}
	probe.CUDA = CUDA{Driver: 13000, Devices: []Device{{Name: "NVIDIA H100", Capability: "9.0", Memory: 80e9, Free: 79e9}}}
	if c := cudaCheck(d, &probe, "cuda"); c.Status != OK || !strings.Contains(c.Detail, "compute capability 9.0, 79.0 GB free of 80.0 GB; driver 580.65.06 for CUDA 13.0") {
		t.Errorf("have %+v", c)
	}
}
