package train

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// record is one line of train.jsonl.
type record struct {
	Iteration int     `json:"iteration"`
	LR        float64 `json:"lr"`
	Loss      float64 `json:"loss"`
	GradNorm  float64 `json:"grad_norm"` // before clipping
}

// journal appends records to train.jsonl, which holds one line a step. A nil one keeps nothing.
type journal struct{ file *os.File }

// openJournal keeps the lines of iterations before start, and appends from there: a run that died may have gone on
// after its checkpoint. A line that cannot be read is an error, and the file stays as it is; only one that was not
// written to its end goes.
func openJournal(path string, start int) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	kept, err := keptBytes(file, start)
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
	return &journal{file}, nil
}

// keptBytes is the length of the lines of iterations before start.
func keptBytes(file *os.File, start int) (kept int64, err error) {
	if start == 0 {
		return 0, nil
	}
	lines := bufio.NewReader(file)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return kept, nil
		}
		var r record
		if err == nil {
			err = json.Unmarshal(line, &r)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: line %d: %w", file.Name(), n, err)
		}
		if r.Iteration >= start {
			return kept, nil
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

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	return j.file.Close()
}
