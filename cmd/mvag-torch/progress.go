package main

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"mvag-torch/dataset"
)

// terminal reports whether a person watches stderr.
func terminal() bool { return term.IsTerminal(int(os.Stderr.Fd())) }

// newBar returns a progress bar on stderr, or nil where that is no terminal.
func newBar(total, done int, unit string) *progressbar.ProgressBar {
	if !terminal() {
		return nil
	}
	bar := progressbar.NewOptions(total,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetItsString(unit),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionFullWidth(),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionOnCompletion(func() { os.Stderr.WriteString("\n") }),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: ""}),
	)
	_ = bar.Set(done) // drawing errors are no reason to stop a run
	return bar
}

// listSkipped lists the pictures that were left out since they could not be
// read.
func listSkipped(skipped *dataset.Skipped) {
	lines := skipped.Lines()
	if len(lines) > 0 {
		fmt.Fprintf(os.Stderr, "left out, since they could not be read (data.on_error: skip): %d pictures\n", len(lines))
	}
	for _, line := range lines {
		fmt.Fprintf(os.Stderr, "  %s\n", line)
	}
}
