package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"mvag-torch/inspect"
	"mvag-torch/model/calibration"
)

// Flags of calibrate that change its calibration step by step.
var additionFlags = []cli.Flag{
	&cli.BoolFlag{Name: "add", Usage: "add the good images of PATH to the calibration that there is"},
	&cli.BoolFlag{Name: "undo", Usage: "take the last addition back"},
	&cli.BoolFlag{Name: "history", Usage: "list the additions"},
}

// fromAdd says where added objects come from.
const fromAdd = "images given to calibrate --add"

// additionOf is the flag of additionFlags that is given; "" for none.
func additionOf(c *cli.Context) (string, error) {
	var given []string
	for _, f := range additionFlags {
		if name := f.Names()[0]; c.Bool(name) {
			given = append(given, name)
		}
	}
	switch {
	case len(given) == 0:
		return "", nil
	case len(given) > 1:
		return "", usageError{fmt.Errorf("have --%s, want one of them", strings.Join(given, " and --"))}
	case given[0] == "add" && !c.Args().Present():
		return "", usageError{errors.New("--add: want PATH… of good images")}
	case given[0] != "add" && (c.Args().Present() || c.IsSet("class") || c.IsSet("pattern")):
		return "", usageError{fmt.Errorf("--%s: have PATH, --class or --pattern, want none", given[0])}
	}
	for _, set := range c.StringSlice("set") {
		if path, _, _ := strings.Cut(set, "="); strings.TrimSpace(path) == "eval.false_alarm" {
			return "", usageError{fmt.Errorf("--%s: --set eval.false_alarm: the rate stays, want a new calibration for another one", given[0])}
		}
	}
	return given[0], nil
}

// runAddition adds to the calibration of setup, takes back, or lists.
func runAddition(c *cli.Context, setup *inspect.Setup, what string) error {
	switch what {
	case "add":
		return addGood(c, setup)
	case "undo":
		undone, err := setup.Undo()
		if err != nil {
			return err
		}
		fmt.Printf("took addition %d back: %s, %s\n", undone.Number, count(len(undone.Objects), "good object"), undone.Source)
		return describe(os.Stdout, setup.Calibration)
	}
	if setup.Samples == nil {
		return setup.MayAdd()
	}
	return listAdditions(os.Stdout, setup.Samples.Additions)
}

// addGood judges the good images of the arguments and adds them to the calibration.
func addGood(c *cli.Context, setup *inspect.Setup) error {
	if err := setup.MayAdd(); err != nil {
		return err
	}
	good, source, _, err := goodObjects(c, setup)
	from := fromAdd
	if err == nil {
		good, from, err = sift(c.Context, setup, good, source, from, 1)
	}
	if err != nil {
		return err
	}
	defer listSkipped(source)
	sayTiles(source, good)
	added, known, err := setup.Add(c.Context, good, source, from, newImageBar(good, "judging"))
	if err != nil {
		return err
	}
	logNotes(setup)
	switch {
	case len(added.Objects) == 0 && len(known) == 0:
		return errors.New("have no good object that could be judged, want one")
	case len(added.Objects) == 0:
		return fmt.Errorf("have %s, all of which are in the calibration already (%s), want others", count(len(known), "good object"), firstOf(known))
	case len(known) > 0:
		fmt.Fprintf(os.Stderr, "left out: %d of %s are in the calibration already (%s)\n", len(known), count(len(good), "object"), firstOf(known))
	}
	if err := listAdditions(os.Stdout, []calibration.Addition{added}); err != nil {
		return err
	}
	return describe(os.Stdout, setup.Calibration)
}

// listAdditions prints additions and what each did to thresholds.
func listAdditions(w io.Writer, list []calibration.Addition) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "nothing was added to the calibration")
		return err
	}
	for _, a := range list {
		fmt.Fprintf(w, "addition %d: %s, %s, %s\n", a.Number, a.Time.Format(time.DateTime+" MST"), count(len(a.Objects), "good object"), a.Source)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "  class\thead\tobject threshold\tfalse alarms at most\tobjects\tadded above the threshold")
		for _, c := range a.Changes {
			class := c.Class
			if class == "" {
				class = "(any)"
			}
			fmt.Fprintf(t, "  %s\t%s\t%.4f, now %.4f\t%.4f, now %.4f\t%d, now %d\t%d, now %d\n", class, c.Head, c.Before.Threshold, c.After.Threshold,
				c.Before.Rate, c.After.Rate, c.Before.Objects, c.After.Objects, c.Above, c.StillAbove)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
