package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/internal/doctor"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check the installation, and what a configuration needs; exit code 1 if anything will not work",
		Flags: []cli.Flag{ // the launcher has the same, see cmd/launch/doctor.go
			configFlag, setFlag,
			&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
		},
		Action: func(c *cli.Context) error {
			report := doctor.Examine(c.Context, doctor.Patient{
				Version: version, Config: c.String("config"), Sets: c.StringSlice("set"), Probe: runProbe,
			})
			if err := c.Context.Err(); err != nil {
				return err // what was found of it means nothing
			}
			if err := report.Write(os.Stdout, c.Bool("json")); err != nil {
				return err
			}
			return report.Err()
		},
	}
}

// runProbe runs the command probe in a process of its own, so that doctor can report even a crash.
func runProbe(ctx context.Context, cfg configs.Config) (p doctor.Probe, err error) {
	self, err := os.Executable()
	if err != nil {
		return p, err
	}
	text, err := configs.Marshal(cfg)
	if err != nil {
		return p, err
	}
	cmd := exec.CommandContext(ctx, self, "probe")
	cmd.Stdin = bytes.NewReader(text)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		first, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return p, fmt.Errorf("a step of training ended with %v: %s", ended, strings.TrimPrefix(first, "mvag-torch: "))
	case err != nil:
		return p, err
	}
	if err := json.Unmarshal(out, &p); err != nil {
		return p, fmt.Errorf("probe: %w", err)
	}
	return p, nil
}
