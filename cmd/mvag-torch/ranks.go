package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"mvag-torch/internal/ranks"
	"mvag-torch/internal/team"
)

// Flags of commands that several processes work on together.
var (
	processesFlag = &cli.IntFlag{Name: "processes", Usage: "work with `N` processes on this host (docs/distributed.md)"}
	gpusFlag      = &cli.IntFlag{Name: "gpus", Usage: "work with `N` GPUs of this host, each in a process of its own"}
	waitFlag      = &cli.DurationFlag{Name: "wait", Value: team.DefaultWait, Usage: "`TIME` that processes wait for each other to start"}
	teamFlags     = []cli.Flag{processesFlag, gpusFlag, waitFlag}
)

// grace is how long the processes of a run may live once one of them has failed. They notice one that is silent after
// eight seconds.
const grace = 10 * time.Second

// inTeam is the action of a command that several processes may work on: those that --processes and --gpus start, or
// those of torchrun, Slurm or MPI. Else it is this process alone, with a nil team. Check is made before others start; it
// finds faults of the command line.
func inTeam(check func(*cli.Context) error, f func(*cli.Context, *team.Team) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		n, err := wanted(c)
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", c.Command.HelpName, err)}
		}
		place, err := ranks.FromEnv(os.Getenv)
		if err != nil {
			return err
		}
		switch own := place != nil && os.Getenv(ranks.LauncherVariable) != ""; {
		case n > 0 && place != nil && place.Size > 1 && !own:
			return usageError{fmt.Errorf("%s: have --processes or --gpus, and rank %d of %d by %s; want one of them",
				c.Command.HelpName, place.Rank, place.Size, place.Launcher)}
		case n > 1 && !own:
			return startRanks(c, n, check)
		case place == nil || place.Size == 1:
			return f(c, nil)
		}
		return beRank(c, place, f)
	}
}

// wanted returns the number of processes that flags ask for, 0 for none. With --gpus their device is CUDA.
func wanted(c *cli.Context) (n int, err error) {
	name := "processes"
	if c.IsSet("gpus") {
		name = "gpus"
	}
	switch {
	case c.IsSet("processes") && c.IsSet("gpus"):
		return 0, errors.New("have --processes and --gpus, want one of them")
	case c.IsSet(name) && c.Int(name) < 1:
		return 0, fmt.Errorf("--%s: have %d, want at least 1", name, c.Int(name))
	case c.Duration("wait") <= 0:
		return 0, fmt.Errorf("--wait: have %v, want more than 0", c.Duration("wait"))
	case name == "gpus":
		for _, s := range c.StringSlice("set") {
			if strings.HasPrefix(s, "device=") {
				return 0, fmt.Errorf("have --gpus and --set %s, want one of them", s)
			}
		}
		if err := c.Set("set", "device=cuda"); err != nil {
			return 0, err
		}
	}
	return c.Int(name), nil
}

// startRanks runs this command line in n processes.
func startRanks(c *cli.Context, n int, check func(*cli.Context) error) error {
	if err := check(c); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return ranks.Local{Size: n, Path: self, Args: os.Args[1:], Stdout: os.Stdout, Stderr: os.Stderr, Grace: grace}.Run(c.Context)
}

// beRank is one of several processes. Only the first speaks.
func beRank(c *cli.Context, place *ranks.Place, f func(*cli.Context, *team.Team) error) error {
	if place.Rank > 0 {
		nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer nowhere.Close()
		defer func(out, text *os.File) { os.Stdout, os.Stderr = out, text }(os.Stdout, os.Stderr)
		os.Stdout, os.Stderr = nowhere, nowhere
	}
	tm, err := team.Join(c.Context, place, team.Options{Version: version, Command: c.Command.HelpName, Wait: c.Duration("wait")})
	if err != nil {
		return err
	}
	logLine(tm.String())
	if err := f(c, tm); err != nil {
		return tm.Explain(err)
	}
	return tm.Leave()
}

// hasConfig refuses a configuration that cannot be used.
func hasConfig(c *cli.Context) error {
	_, err := loadConfig(c)
	return err
}

// hasParts refuses a configuration that cannot be used, or whose batches the processes cannot divide.
func hasParts(c *cli.Context) error {
	cfg, err := loadConfig(c)
	if n := max(c.Int("processes"), c.Int("gpus")); err == nil && cfg.Train.Objects%n != 0 {
		return fmt.Errorf("train.objects: have %d, want a multiple of the %d ranks", cfg.Train.Objects, n)
	}
	return err
}
