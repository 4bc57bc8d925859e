package train

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
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
	earlier *Circumstances // of the last start that is kept; nil without one
}

// openJournal keeps the lines of iterations before start, and appends from there: a run that died may have gone on
// after its checkpoint. A line that cannot be read is an error, and the file stays as it is; only one that was not
// written to its end goes.
func openJournal(path string, start int) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	kept, earlier, err := keptBytes(file, start)
	if err == nil {
		err = file.Truncate(kept)
	}
	if err == nil {
		_, err = file.Seek(kept, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &journal{file, earlier}, nil
}

// keptBytes is the length of the lines of iterations before start, and the last circumstances among them.
func keptBytes(file *os.File, start int) (kept int64, earlier *Circumstances, err error) {
	if start == 0 {
		return 0, nil, nil
	}
	lines := bufio.NewReader(file)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return kept, earlier, nil
		}
		var r began // what a line of a step has in common with it
		if err == nil {
			err = json.Unmarshal(line, &r)
		}
		if err != nil {
			return 0, nil, fmt.Errorf("%s: line %d: %w", file.Name(), n, err)
		}
		if r.Iteration >= start {
			return kept, earlier, nil
		}
		if r.Start != nil {
			earlier = r.Start
		}
		kept += int64(len(line))
	}
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
	_, err := j.file.Write(text)
	return err
}

// begin notes that a run goes on, under which circumstances.
func (j *journal) begin(iteration int, under Circumstances) error {
	line, err := json.Marshal(began{iteration, &under})
	if err == nil {
		_, err = j.file.Write(append(line, '\n'))
	}
	return err
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}
