package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"mvag-torch/dataset"
)

// terminal reports whether stderr is a terminal.
func terminal() bool { return term.IsTerminal(int(os.Stderr.Fd())) }

// logLine prints a line on stderr.
func logLine(line string) { fmt.Fprintln(os.Stderr, line) }

func logLines(lines []string) {
	for _, line := range lines {
		logLine(line)
	}
}

// sayDepths says at which depth 16-bit images are read, where data.bits is auto.
func sayDepths(source dataset.Source) {
	if len(source.Depths) > 0 {
		fmt.Fprintf(os.Stderr, "data.bits: auto reads 16-bit images as values of so many bits: %v\n", source.Depths)
	}
}

// sayTiles says how many tiles images become and what they cost, where data.fit is tiles.
func sayTiles(source dataset.Source, objects []dataset.Object) {
	if line := source.TilesLine(objects); line != "" {
		fmt.Fprintln(os.Stderr, line)
	}
}

// uncaptured warns that cuda_graph has no effect.
func uncaptured(why error) {
	fmt.Fprintf(os.Stderr, "cuda_graph: the work cannot be captured (%v); going on without\n", why)
}

// newBar returns a progress bar on stderr, or nil if that is no terminal.
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
	_ = bar.Set(done) // an error of drawing must not stop a run
	return bar
}

// newImageBar returns a function that shows progress in images of objects, from its first call on: a bar on a terminal,
// else one line.
func newImageBar(objects []dataset.Object, title string) func(done int) {
	total := 0
	for i := range objects {
		for _, v := range objects[i].Views {
			if v.Present() {
				total++
			}
		}
	}
	start := sync.OnceValue(func() *progressbar.ProgressBar {
		bar := newBar(total, 0, "images")
		if bar == nil {
			fmt.Fprintf(os.Stderr, "%s: %s of %s\n", title, count(total, "image"), count(len(objects), "object"))
			return nil
		}
		bar.Describe(title)
		return bar
	})
	return func(done int) {
		if bar := start(); bar != nil {
			_ = bar.Set(done)
		}
	}
}

// listSkipped lists the images that were left out because they could not be read, and says where a cache was damaged.
func listSkipped(source dataset.Source) {
	if line := source.Cache.Mended(); line != "" {
		fmt.Fprintln(os.Stderr, line)
	}
	lines := source.Skipped.Lines()
	if len(lines) > 0 {
		fmt.Fprintf(os.Stderr, "left out because they cannot be read (data.on_error: skip): %s\n", count(len(lines), "image"))
	}
	for _, line := range lines {
		fmt.Fprintf(os.Stderr, "  %s\n", line)
	}
}
