package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"mvag-torch/internal/doctor"
)

// doctorWithout is the command doctor for an installation whose core cannot start because of fault. It returns the exit
// code.
func doctorWithout(fault error, args []string) int {
	patient := doctor.Patient{Version: version, Fault: fault}
	flags := flag.NewFlagSet("mvag-torch doctor", flag.ContinueOnError)
	flags.StringVar(&patient.Config, "config", "", "configuration: a `FILE`, or the name of an embedded one")
	flags.StringVar(&patient.Config, "c", "", "short for -config")
	flags.Func("set", "override a setting (`PATH=VALUE`)", func(s string) error {
		patient.Sets = append(patient.Sets, s)
		return nil
	})
	asJSON := flags.Bool("json", false, "print the report as JSON")
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp:
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(os.Stderr, "mvag-torch: doctor: have arguments %q, want none\n", strings.Join(flags.Args(), " "))
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report := doctor.Examine(ctx, patient)
	err := report.Write(os.Stdout, *asJSON)
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "mvag-torch: %v\n", err)
		return 1
	}
	return 0
}
