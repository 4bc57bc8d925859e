package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// record is one line of train.jsonl.
type record struct {
	Iteration int     `json:"iteration"`
	LR        float64 `json:"lr"`
	Loss      float64 `json:"loss"`
	GradNorm  float64 `json:"grad_norm"` // before clipping
}

// journal appends records to train.jsonl, which holds one line a step.
type journal struct{ file *os.File }

// openJournal keeps the lines of iterations before start, which a run that
// died after its checkpoint may have gone beyond, and appends from there.
func openJournal(path string, start int) (*journal, error) {
	kept, err := keptBytes(path, start)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	if err := file.Truncate(kept); err != nil {
		file.Close()
		return nil, err
	}
	if _, err := file.Seek(kept, 0); err != nil {
		file.Close()
		return nil, err
	}
	return &journal{file}, nil
}

// keptBytes is the length of the lines of iterations before start.
func keptBytes(path string, start int) (int64, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	kept := int64(0)
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		var r record
		if err != nil || json.Unmarshal(line, &r) != nil || r.Iteration >= start {
			return kept, nil
		}
		kept += int64(len(line))
	}
}

func (j *journal) write(records []record) error {
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

func (j *journal) close() error { return j.file.Close() }
