package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
	"mvag-torch/model/checkpoint"
)

// record is a line of train.jsonl for a step.
type record struct {
	Iteration int     `json:"iteration"`
	LR        float64 `json:"lr"`
	Loss      value   `json:"loss"`
	GradNorm  value   `json:"grad_norm"` // before clipping
	// Skipped is set where the step changed nothing: the first tensor that is not finite, in words.
	Skipped string `json:"skipped,omitempty"`
}

// began is a line of train.jsonl that precedes the steps taken under these circumstances.
type began struct {
	Iteration int            `json:"iteration"` // of the first step after it
	Start     *Circumstances `json:"start"`
}

// value is a number that JSON has, or null for one that is not finite.
type value float64

func (v value) finite() bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }

// MarshalJSON implements [json.Marshaler].
func (v value) MarshalJSON() ([]byte, error) {
	if !v.finite() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(v))
}

// journal appends to train.jsonl, which holds one line a step and one a start. A nil one keeps nothing.
type journal struct {
	file    *os.File
	folder  *os.File       // of the run
	earlier *Circumstances // of the last start that is kept; nil without one
	steps   int            // the iteration after the last step that is kept
	lost    error          // what could not be read when the run went on, and is kept beside, or was not there; nil where all was
}

// openJournal keeps the lines of iterations before start, and appends from there: a run that died may have gone on
// after its checkpoint. Where lines cannot be read, the file as it is gets another name first ([checkpoint.Damaged]) and the run
// goes on without them. A last line that was not written to its end goes.
func openJournal(path string, start int) (*journal, error) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	j := &journal{folder: folder}
	if j.file, err = regularfile.Update(path); err != nil {
		_ = folder.Close()
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	var text, kept []byte
	if start > 0 {
		text, err = io.ReadAll(j.file)
		kept = j.sound(text, start)
	}
	if err == nil && j.lost != nil {
		err = j.repair(path, text, kept)
	}
	if err == nil {
		err = j.file.Truncate(int64(len(kept)))
	}
	if err == nil {
		_, err = j.file.Seek(int64(len(kept)), io.SeekStart)
	}
	if err != nil {
		_ = j.close()
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	if j.lost == nil && j.steps < start {
		j.lost = fmt.Errorf("%s: have no steps from iteration %d on, want those before iteration %d; the run goes on without them",
			path, j.steps, start)
	}
	return j, nil
}

// repair keeps text beside the journal, which has the lines of kept alone afterwards.
func (j *journal) repair(path string, text, kept []byte) error {
	err := atomicfile.Write(checkpoint.Damaged(path), func(w io.Writer) error { _, err := w.Write(text); return err })
	if err == nil {
		err = atomicfile.Write(path, func(w io.Writer) error { _, err := w.Write(kept); return err })
	}
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_ = j.file.Close()
	j.file = file
	return nil
}

// sound returns the lines of iterations before start that can be read and are in order. It notes the last start among
// them, and the first of those that are neither.
func (j *journal) sound(text []byte, start int) (kept []byte) {
	type entry struct {
		began // what a line of a step has in common with it
		line  []byte
	}
	var entries []entry
	lost, first := 0, error(nil)
	lose := func(err error) {
		if lost++; lost == 1 {
			first = err
		}
	}
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			break
		}
		e := entry{line: text[:len(line)+1]}
		if err := json.Unmarshal(line, &e.began); err != nil {
			lose(fmt.Errorf("line %d: %w", n, err))
		} else {
			entries = append(entries, e)
		}
		text = rest
	}
	last := 0
	for i, e := range entries {
		odd := e.Iteration < last // or the next one is, because of this one
		if i+1 < len(entries) {
			next := entries[i+1].Iteration
			odd = odd || next < e.Iteration && next >= last
		}
		switch {
		case odd:
			lose(fmt.Errorf("iteration %d after %d: out of order", e.Iteration, last))
			continue
		case e.Iteration >= start:
			continue
		case e.Start != nil:
			j.earlier = e.Start
		default:
			j.steps = e.Iteration + 1
		}
		last = e.Iteration
		kept = append(kept, e.line...)
	}
	if lost > 0 {
		lines, them := "1 line cannot be read", "it"
		if lost > 1 {
			lines, them = fmt.Sprintf("%d lines cannot be read, the first", lost), "them"
		}
		j.lost = fmt.Errorf("%s: %s: %w; the run goes on without %s, and the file as it was is kept as %s",
			j.file.Name(), lines, first, them, checkpoint.Damaged(j.file.Name()))
	}
	return kept
}

func (j *journal) write(records []record) error {
	if j == nil {
		return nil
	}
	var text []byte
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("%s: iteration %d: %w", j.file.Name(), r.Iteration, err)
		}
		text = append(append(text, line...), '\n')
	}
	return j.append(text)
}

func (j *journal) append(text []byte) error {
	if err := j.there(); err != nil {
		return err
	}
	if _, err := j.file.Write(text); err != nil {
		return fmt.Errorf("%s: %w", j.file.Name(), atomicfile.Cause(err))
	}
	return nil
}

// there returns an error once the run folder is no longer where it was: a run would go on for nothing, or write into the
// folder of another one.
func (j *journal) there() error {
	own, err := j.folder.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", j.folder.Name(), atomicfile.Cause(err))
	}
	still, err := regularfile.StillAt(j.folder.Name(), own)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", j.folder.Name(), atomicfile.Cause(err))
	case !still:
		return fmt.Errorf("%s: the run folder was removed, renamed or replaced meanwhile, so the run ends; "+
			"train --resume goes on where it is now (output, name)", j.folder.Name())
	}
	return nil
}

// sync brings the lines to the disk, before a checkpoint that is behind them.
func (j *journal) sync() error {
	if err := j.there(); err != nil {
		return err
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("%s: %w", j.file.Name(), atomicfile.Cause(err))
	}
	return nil
}

// begin notes that a run goes on, under which circumstances.
func (j *journal) begin(iteration int, under Circumstances) error {
	line, err := json.Marshal(began{iteration, &under})
	if err == nil {
		err = j.append(append(line, '\n'))
	}
	return err
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return errors.Join(j.file.Close(), j.folder.Close())
}
