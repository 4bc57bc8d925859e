package eval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
)

// partial is a finished class on disk: its results as in results.json, whose
// protocol says what they belong to, and its scores.
type partial struct {
	Results  report.Results  `json:"results"`
	Pictures []score.Picture `json:"pictures"`
	Objects  []score.Object  `json:"objects"`
	Curve    score.Curve     `json:"curve"`
}

const partialSuffix = ".json"

// save leaves a finished class in folder.
func save(folder string, protocol Protocol, result score.Result) error {
	if folder == "" {
		return nil
	}
	text, err := json.Marshal(partial{
		report.Results{Protocol: protocol, Classes: []report.Class{result.Class}}, result.Pictures, result.Objects, result.Curve,
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return report.Replace(filepath.Join(folder, result.Class.Name+partialSuffix), text)
}

// restore reads the classes left in folder by an evaluation of the same
// protocol. Ignored says why others are left aside.
func restore(folder string, protocol Protocol) (found map[string]score.Result, ignored error) {
	found = map[string]score.Result{}
	if folder == "" {
		return found, nil
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*"+partialSuffix))
	if err != nil {
		return found, err
	}
	want, err := json.Marshal(protocol)
	if err != nil {
		return found, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		var p partial
		if err == nil {
			err = json.Unmarshal(text, &p)
		}
		if err == nil && len(p.Results.Classes) != 1 {
			err = fmt.Errorf("have %d classes, want 1", len(p.Results.Classes))
		}
		if err == nil && p.Curve.Class != p.Results.Classes[0].Name {
			err = errors.New("have no curve of the class") // of an earlier version
		}
		if err == nil {
			var have bytes.Buffer
			raw, _ := p.Results.Protocol.(json.RawMessage) // as it is after reading
			if err = json.Compact(&have, raw); err == nil && !bytes.Equal(have.Bytes(), want) {
				err = errors.New("have results of another model, protocol or data set")
			}
		}
		if err != nil {
			ignored = fmt.Errorf("%s: %w", path, err)
			continue
		}
		c := p.Results.Classes[0]
		found[c.Name] = score.Result{Class: c, Pictures: p.Pictures, Objects: p.Objects, Curve: p.Curve}
	}
	return found, ignored
}

// Forget removes what Run left in a folder of finished classes, once their
// results are safe elsewhere.
func Forget(folder string) error {
	paths, err := filepath.Glob(filepath.Join(folder, "*"+partialSuffix))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := os.Remove(folder); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
