// Package doctor examines an installation: LibTorch, the machine, and the files that a configuration names. It says
// what to do about each fault, and estimates the time and memory that training will take.
//
// The package is pure Go and so works on a machine without LibTorch. What only a program with LibTorch can find out
// comes from a [Probe].
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/internal/libtorch"
	"mvag-torch/internal/machine"
	"mvag-torch/model/weights"
)

// Status is the outcome of a check.
type Status string

// OK works, Warn works with a drawback, Fail does not work.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Check is one entry of a report.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"` // what to do about it, "" if nothing
}

// Report is the outcome of Examine.
type Report struct {
	Version  string    `json:"version"` // of the program
	Checks   []Check   `json:"checks"`
	Estimate *Estimate `json:"estimate,omitempty"` // nil without a configuration or a successful step
}

// Patient is what Examine examines.
type Patient struct {
	Version string   // of the program
	Config  string   // file or name of a configuration, "" for the machine alone
	Sets    []string // settings that override it
	// Fault is why LibTorch cannot be loaded, nil if it can.
	Fault error
	// Probe runs a program with LibTorch; it is not called if Fault is set.
	Probe func(context.Context, configs.Config) (Probe, error)
}

// Examine runs all checks.
func Examine(ctx context.Context, p Patient) Report {
	r := Report{Version: p.Version}
	cfg, arch, known := r.config(p)
	probe := r.libtorch(ctx, p, cfg)
	r.add(cpuCheck())
	memory := machine.ReadMemory()
	r.add(memoryCheck(memory))
	r.add(cudaCheck(readDriver("/proc/driver/nvidia"), probe, cfg.Device))
	if probe != nil {
		for _, s := range probe.Smoke {
			r.add(s.check())
		}
	}
	if !known {
		return r
	}
	r.add(backboneCheck(cfg, probe))
	r.add(dataCheck(cfg))
	if probe != nil {
		if e, ok := estimate(cfg, arch, probe); ok {
			r.Estimate = &e
			r.add(e.check(memory, probe))
		}
	}
	r.add(diskCheck(cfg, r.Estimate))
	return r
}

// config reads the configuration. Without a valid one known is false, and the result is the default configuration with
// a small encoder.
func (r *Report) config(p Patient) (cfg configs.Config, arch weights.Arch, known bool) {
	fallback := configs.Default()
	fallback.Backbone.Name = "vit_small_patch14_dinov2"
	if p.Config != "" {
		cfg, err := configs.Load(p.Config, p.Sets...)
		if err == nil {
			arch, err = weights.OfConfig(cfg.Backbone)
		}
		if err == nil {
			r.add(Check{"config", OK, p.Config, ""})
			return cfg, arch, true
		}
		r.add(Check{"config", Fail, oneLine(err), "correct the setting; docs/format/config.md lists all keys"})
	}
	arch, _ = weights.ParseArch(fallback.Backbone.Name)
	return fallback, arch, false
}

// libtorch reports on LibTorch and returns what the probe found, nil if it could not run.
func (r *Report) libtorch(ctx context.Context, p Patient, cfg configs.Config) *Probe {
	if p.Fault != nil {
		detail, remedy, _ := strings.Cut(oneLine(p.Fault), "; ")
		r.add(Check{"libtorch", Fail, strings.TrimPrefix(detail, "libtorch: "), remedy})
		return nil
	}
	probe, err := p.Probe(ctx, cfg)
	if err != nil {
		r.add(Check{"libtorch", Fail, oneLine(err), "fetch LibTorch anew: remove its folder, run third_party/libtorch.sh"})
		return nil
	}
	c := Check{"libtorch", OK, fmt.Sprintf("%s in %s, %d threads", probe.Version, probe.LibTorch, probe.Threads), ""}
	if probe.Version != libtorch.Version {
		c.Status, c.Detail = Fail, fmt.Sprintf("have %s in %s, want %s", probe.Version, probe.LibTorch, libtorch.Version)
		c.Remedy = "run third_party/libtorch.sh, or correct LD_LIBRARY_PATH"
	}
	r.add(c)
	return &probe
}

func (r *Report) add(c Check) { r.Checks = append(r.Checks, c) }

// Err returns how many checks failed as an error, nil if none did.
func (r Report) Err() error {
	failed := 0
	for _, c := range r.Checks {
		if c.Status == Fail {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("doctor: %d of %d checks failed", failed, len(r.Checks))
}

// Write writes the report to w as JSON or as text: one line for each check, and its remedy on the next.
func (r Report) Write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%-4s  %-10s %s\n", c.Status, c.Name, c.Detail)
		if c.Remedy != "" {
			fmt.Fprintf(&b, "%-4s  %-10s -> %s\n", "", "", c.Remedy)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// oneLine returns the text of err with its lines joined.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
