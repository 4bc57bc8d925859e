// Command mvag-torch trains and evaluates MVAG-FL, multi-view attention guided feature learning for industrial anomaly
// detection. Each command has one file, which reads flags, calls packages and prints. Results go to stdout, everything
// else to stderr. The exit code is 0 for success, 1 for failure, 2 for wrong usage, and 128 and its number for a signal:
// 129 (SIGHUP), 130 (Ctrl-C), 143 (SIGTERM).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/internal/ranks"
	"mvag-torch/internal/team"
	"mvag-torch/internal/tensor"
)

// version is set by the linker.
var version = "development"

// usageError is a fault in the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	stderr := os.Stderr // of a rank that does not speak, too
	ctx := heed(len(os.Args) > 1 && os.Args[1] == serveCommand().Name, os.Exit)
	err := run(ctx, os.Args)
	if err == nil {
		return
	}
	code, text := explain(ctx, err)
	if text != "" {
		fmt.Fprintf(stderr, "mvag-torch: %v\n", text)
	}
	os.Exit(code)
}

// explain returns the exit code for an error of a command with that context, and what is said of it; "" where another
// process does.
func explain(ctx context.Context, err error) (number int, text string) {
	var by *stopped
	number, text = plainly(err)
	var met *team.Failure
	ended := errors.Is(err, context.Canceled) || errors.As(err, &met) && met.Quiet // others have ended since this one did
	if errors.As(context.Cause(ctx), &by) && ended {
		number = code(by.signal)
	}
	return number, text
}

// plainly is explain where no signal has come.
func plainly(err error) (number int, text string) {
	var usage usageError
	var invalid *configs.Error
	var ended *ranks.Ended
	var met *team.Failure
	switch {
	case errors.As(err, &ended):
		return ended.Code, ended.Text
	case errors.As(err, &met) && met.Quiet:
		return 1, ""
	case errors.As(err, &usage) || errors.As(err, &invalid):
		return 2, err.Error()
	}
	return 1, strings.ReplaceAll(err.Error(), "\n", "; ") // of errors that were joined
}

func run(ctx context.Context, args []string) error {
	if err := tensor.CheckVersion(); err != nil {
		return err
	}
	app := &cli.App{
		Name:    "mvag-torch",
		Usage:   "multi-view industrial anomaly detection: train, evaluate, explain",
		Version: version,
		// A comma in --set is part of the value.
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {},
		Commands: []*cli.Command{trainCommand(), enrollCommand(), evalCommand(), metricsCommand(), predictCommand(), calibrateCommand(), exportCommand(), infoCommand(), reportCommand(), serveCommand(), datasetCommand(), backboneCommand(), configCommand(), benchCommand(), doctorCommand(),
			probeCommand(), completionCommand(), manCommand()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("have no command %q; see mvag-torch --help", c.Args().First())}
			}
			return cli.ShowAppHelp(c)
		},
	}
	strict(app.Commands)
	app.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageError{err} }
	args, err := flagsFirst(app.Commands, args)
	if err != nil {
		return err
	}
	return app.RunContext(ctx, args)
}

// flagsFirst moves the flags of a command before its arguments, because package cli stops parsing flags at the first
// argument. A flag of one value that is given twice is an error: the package would take the last.
func flagsFirst(commands []*cli.Command, args []string) ([]string, error) {
	var flags []cli.Flag
	given := map[cli.Flag]bool{}
	i := 1
	for ; i < len(args); i++ {
		at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.Name == args[i] })
		if at < 0 {
			break
		}
		flags, commands = commands[at].Flags, commands[at].Subcommands
	}
	ordered, rest := slices.Clone(args[:i]), []string(nil)
	for ; i < len(args); i++ {
		name := strings.TrimLeft(args[i], "-")
		switch {
		case args[i] == "--":
			return append(append(ordered, rest...), args[i:]...), nil
		case name == args[i] || name == "":
			rest = append(rest, args[i])
		default:
			ordered = append(ordered, args[i])
			name, _, joined := strings.Cut(name, "=")
			flag := valueFlag(flags, name)
			if _, many := flag.(*cli.StringSliceFlag); flag != nil && !many {
				if given[flag] {
					return nil, usageError{fmt.Errorf("%s: have it twice, want it once", args[i])}
				}
				given[flag] = true
			}
			if flag != nil && !joined && i+1 < len(args) {
				i++
				ordered = append(ordered, args[i])
			}
		}
	}
	return append(ordered, rest...), nil
}

// valueFlag returns the flag of that name if it takes a value, else nil.
func valueFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && d.TakesValue() && slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// strict makes wrong flags and surplus arguments usage errors of one line.
func strict(commands []*cli.Command) {
	for _, command := range commands {
		command.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return usageError{err} }
		strict(command.Subcommands)
		action, want := command.Action, command.ArgsUsage
		if action == nil { // only subcommands
			command.Action = func(c *cli.Context) error {
				if c.Args().Present() {
					return usageError{fmt.Errorf("%s: have no command %q", c.Command.HelpName, c.Args().First())}
				}
				return cli.ShowSubcommandHelp(c)
			}
			continue
		}
		command.Action = func(c *cli.Context) error {
			if n := arguments(want); c.Args().Len() != n && !(strings.Contains(want, "…") && (c.Args().Len() >= n || want[0] == '[')) {
				if n == 0 {
					return usageError{fmt.Errorf("%s: have %q, want no arguments but flags; see --help", c.Command.HelpName, c.Args().Slice())}
				}
				return usageError{fmt.Errorf("%s: have %d arguments %q, want %d (%s)", c.Command.HelpName, c.Args().Len(), c.Args().Slice(), n, want)}
			}
			return interrupted(c.Context, action(c), startsAgain)
		}
	}
}

// arguments counts the words of a command's ArgsUsage. A word with "…" stands for one or more arguments, in brackets
// for any number.
func arguments(usage string) int {
	n := 0
	for i := range usage {
		if usage[i] != ' ' && (i == 0 || usage[i-1] == ' ') {
			n++
		}
	}
	return n
}

// Flags shared by commands.
var (
	configFlag = &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "configuration: a `FILE`, or the name of an embedded one"}
	setFlag    = &cli.StringSliceFlag{Name: "set", Usage: "override a setting, as in --set train.iterations=200 (`PATH=VALUE`)"}
)

// loadConfig reads the configuration that the flags name, perhaps from a pipe.
func loadConfig(c *cli.Context, more ...string) (configs.Config, error) {
	if c.String("config") == "" {
		return configs.Config{}, usageError{fmt.Errorf("%s: have no configuration, want -c FILE or one of %q", c.Command.HelpName, configs.Names())}
	}
	var cfg configs.Config
	err := waiting(c.Context, c.String("config"), func() (err error) {
		if cfg, err = configs.Load(c.String("config"), append(c.StringSlice("set"), more...)...); err != nil {
			err = usageError{err}
		}
		return err
	})
	if err != nil {
		return configs.Config{}, err
	}
	return cfg, nil
}
