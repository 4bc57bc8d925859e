package eval

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mvag-torch/dataset"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

// sealed is a line of the file of finished classes. A digit that a disk changes would become a result otherwise.
type sealed struct {
	SHA256 string          `json:"sha256"` // of Class, as it is in the line
	Class  json.RawMessage `json:"class"`  // a partial
}

// partial is the result of one class. The protocol of its results is the fingerprint of what decided them.
type partial struct {
	Results report.Results `json:"results"`
	Images  []score.Image  `json:"images"`
	Objects []score.Object `json:"objects"`
	Curve   score.Curve    `json:"curve"`
	// Noted is what was odd about the files of the class.
	Noted map[dataset.Finding]dataset.Noted `json:"noted,omitempty"`
}

// finished is a class that was evaluated.
type finished struct {
	score.Result
	noted map[dataset.Finding]dataset.Noted
}

// save appends a finished class to the file at path, "" for none. A line begins with its end of line, so that one that
// was cut by an interruption does not spoil the next.
func save(path, fingerprint string, result finished) error {
	if path == "" {
		return nil
	}
	class, err := json.Marshal(partial{
		report.Results{Protocol: fingerprint, Classes: []report.Class{result.Class}}, result.Images, result.Objects, result.Curve,
		result.noted,
	})
	if err != nil {
		return err
	}
	line, err := json.Marshal(sealed{hash(class), class})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(append([]byte("\n"), line...))
		if err == nil {
			err = f.Sync()
		}
		_ = f.Close()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	return nil
}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// maxPartial bounds the bytes of the file of finished classes.
const maxPartial = 1 << 30

// restore reads the classes in the file at path whose fingerprints are those wanted, by class. The error says why
// others are left aside.
func restore(path string, want map[string]string) (found map[string]finished, ignored error) {
	found = map[string]finished{}
	text, err := regularfile.Read(path, maxPartial)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		result, err := readPartial(line, want)
		if err != nil {
			ignored = fmt.Errorf("%s:%d: %w", path, number, err)
			continue
		}
		found[result.Class.Name] = result
	}
	return found, ignored
}

func readPartial(line []byte, want map[string]string) (finished, error) {
	var s sealed
	if err := json.Unmarshal(line, &s); err != nil {
		return finished{}, err
	}
	if have := hash(s.Class); have != s.SHA256 {
		return finished{}, fmt.Errorf("damaged: have results of SHA-256 %.12s…, want %.12s…", have, cmp.Or(s.SHA256, "none"))
	}
	var p partial
	if err := json.Unmarshal(s.Class, &p); err != nil {
		return finished{}, err
	}
	if len(p.Results.Classes) != 1 {
		return finished{}, fmt.Errorf("have %d classes, want 1", len(p.Results.Classes))
	}
	c := p.Results.Classes[0]
	var have string
	raw, _ := p.Results.Protocol.(json.RawMessage) // as it is after reading
	if err := json.Unmarshal(raw, &have); err != nil || have != want[c.Name] {
		return finished{}, fmt.Errorf("class %q: have results of another model, setting, file or version of the program", c.Name)
	}
	return finished{score.Result{Class: c, Images: p.Images, Objects: p.Objects, Curve: p.Curve}, p.Noted}, nil
}

// Forget removes the file of finished classes once their results are safe elsewhere.
func Forget(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
