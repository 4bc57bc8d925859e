package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/internal/regularfile"
)

func predictCommand() *cli.Command {
	return &cli.Command{
		Name:        "predict",
		Usage:       "find defects in images: one JSON line per image with scores, decision and regions; heat maps and overlays in -o",
		ArgsUsage:   "PATH…",
		Description: pathHelp + "Without -o the lines go to standard output and nothing is drawn.",
		Flags: []cli.Flag{
			checkpointFlag, setFlag, patternFlag, classFlag,
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FOLDER` for predictions.jsonl, heat/ and overlay/"},
			&cli.BoolFlag{Name: "maps", Usage: "also write raw anomaly maps: float32 .npy files in maps/"},
		},
		Action: runPredict,
	}
}

func runPredict(c *cli.Context) error {
	folder := c.String("output")
	if c.Bool("maps") && folder == "" {
		return usageError{fmt.Errorf("%s: have --maps without -o, want a folder for them", c.Command.HelpName)}
	}
	setup, err := readSetup(c, inspect.Options{Log: logLine})
	if err != nil {
		return err
	}
	defer setup.Close()
	if err := markEarlier(folder); err != nil {
		return err
	}
	found, err := collect(c, setup, false)
	if err == nil {
		err = setup.Judges(found.Objects)
	}
	if err != nil {
		return err
	}
	w, err := newLines(folder)
	if err != nil {
		return err
	}
	for _, r := range found.Rejected {
		if err := w.write(inspect.Refused(r)); err != nil {
			return w.close(err)
		}
	}
	var draw func(*inspect.Result) error
	if folder != "" {
		out := inspect.Output{Folder: folder, Maps: c.Bool("maps")}
		draw = func(r *inspect.Result) error { return out.Write(r.Index+1, r) }
	}
	err = w.close(predictAll(c.Context, setup, found.Objects, draw, w))
	if err != nil {
		return interrupted(c.Context, err, fmt.Sprintf("interrupted after %s; the same command starts with the first again", count(w.count, "image")))
	}
	fmt.Fprintf(os.Stderr, "%s of %s; %s\n", count(w.count, "image"), count(len(found.Objects), "object"), count(w.defective, "defective object"))
	logLines(dataset.NotedLines(setup.Notes.Summary()))
	if err := w.sayStale(); err != nil {
		return err
	}
	if w.failed > 0 {
		return fmt.Errorf("%d of %s failed; the first: %s", w.failed, count(w.count, "image"), w.first)
	}
	return nil
}

// markEarlier marks what an earlier version of the program has drawn in the output folder: it is not to be read as
// input.
func markEarlier(folder string) error {
	for _, name := range inspect.OutputFolders {
		dir := filepath.Join(folder, name)
		if info, err := os.Stat(dir); folder != "" && err == nil && info.IsDir() {
			if err := dataset.MarkResults(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// predictAll judges objects and writes their lines.
func predictAll(
	ctx context.Context, setup *inspect.Setup, objects []dataset.Object, draw func(*inspect.Result) error, w *lines,
) error {
	if len(objects) == 0 {
		return nil
	}
	inspector, err := setup.Start()
	if err != nil {
		return err
	}
	defer inspector.Close()
	sayTiles(dataset.NewSource(setup.Config.Data), objects)
	progress, done := newImageBar(objects, "predicting"), 0
	progress(done)
	return inspector.Objects(ctx, objects, draw, func(r *inspect.Result) error {
		if r.Verdict != nil && r.Verdict.Decision == inspect.Defective {
			w.defective++
		}
		done += len(r.Images)
		progress(done)
		return w.write(r.Lines()...)
	})
}

// lines writes JSON Lines to predictions.jsonl in a folder or to stdout, and counts.
type lines struct {
	folder        string          // "" for stdout
	own           folders         // keeps others out of folder
	drawn         map[string]bool // files in folder that belong to the lines
	file          *os.File        // nil for stdout
	whole         int64           // bytes of file, all of them of whole objects
	count, failed int             // images
	defective     int             // objects
	first         string
}

func newLines(folder string) (*lines, error) {
	if folder == "" {
		return &lines{}, nil
	}
	if err := makeFolder(folder); err != nil {
		return nil, err
	}
	own, err := ownFolders("predict.lock", folder)
	if err != nil {
		return nil, err
	}
	file, err := regularfile.Create(filepath.Join(folder, "predictions.jsonl"))
	if err != nil {
		own.release()
		return nil, err
	}
	return &lines{folder: folder, own: own, drawn: map[string]bool{}, file: file}, nil
}

// makeFolder makes a folder that the user has named, unless it exists.
func makeFolder(path string) error {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return fmt.Errorf("%s: have a file, want a folder", path)
	}
	return os.MkdirAll(path, 0o755)
}

// there returns an error once predictions.jsonl is no longer where it was opened: nobody would find what follows.
func (l *lines) there() error {
	if l.file == nil {
		return nil
	}
	own, err := l.file.Stat()
	if err != nil {
		return err
	}
	still, err := regularfile.StillAt(l.file.Name(), own)
	if !still && err == nil {
		return fmt.Errorf("%s: was removed, renamed or replaced meanwhile", l.file.Name())
	}
	return err
}

// write writes the lines of an object at once, so that whoever follows the file sees whole objects. After an error the file
// ends with the last whole one.
func (l *lines) write(list ...inspect.Line) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for _, line := range list {
		l.count++
		for _, name := range []string{line.HeatFile, line.OverlayFile, line.MapFile} {
			if l.folder != "" && name != "" {
				l.drawn[filepath.FromSlash(name)] = true
			}
		}
		if line.Error != "" {
			l.failed++
			if l.failed == 1 { // most errors name the file themselves
				l.first = line.Path + ": " + strings.TrimPrefix(line.Error, line.Path+": ")
			}
		}
		if err := enc.Encode(line); err != nil {
			return fmt.Errorf("%s: %w", line.Path, err)
		}
	}
	if l.file == nil {
		_, err := os.Stdout.Write(text.Bytes())
		return err
	}
	n, err := l.file.Write(text.Bytes())
	if err != nil {
		_ = l.file.Truncate(l.whole)
		return err
	}
	l.whole += int64(n)
	return l.there()
}

// sayStale counts the files of earlier predictions in the output folder.
func (l *lines) sayStale() error {
	stale, first := 0, ""
	for _, name := range inspect.OutputFolders {
		entries, err := os.ReadDir(filepath.Join(l.folder, name))
		if l.folder == "" || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if path := filepath.Join(name, e.Name()); !strings.HasPrefix(e.Name(), ".") && !l.drawn[path] {
				stale++
				first = cmp.Or(first, path)
			}
		}
	}
	if stale > 0 {
		fmt.Fprintf(os.Stderr, "%s: %s of earlier predictions, not of these; the first: %s\n", l.folder, count(stale, "file"), first)
	}
	return nil
}

// close closes the file and returns err, or else the error of closing.
func (l *lines) close(err error) error {
	if l.file == nil {
		return err
	}
	if closed := l.file.Close(); err == nil {
		err = closed
	}
	l.own.release()
	return err
}
