package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"mvag-torch/configs"
	"mvag-torch/eval/picture"
	"mvag-torch/eval/report"
	"mvag-torch/eval/score"
	"mvag-torch/internal/regularfile"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// run is the content of a run folder; what is missing is nil.
type run struct {
	config    *configs.Config
	iteration int // of the checkpoint, -1 without one
	heads     calibration.Heads
	changed   []string // settings that decide scores, in which results and checkpoint differ: there are no thresholds
	steps     []step   // but those that were left out
	leftOut   []step   // steps whose loss or gradient norm was not finite
	results   *report.Results
	images    []score.Image
	objects   []score.Object
	curves    map[string]score.Curve // by class
	exhibits  []picture.Exhibit
}

// step is a line of train.jsonl.
type step struct {
	Iteration int     `json:"iteration"`
	LR        float64 `json:"lr"`
	Loss      float64 `json:"loss"`
	GradNorm  float64 `json:"grad_norm"`
	Skipped   string  `json:"skipped,omitempty"` // why the step changed nothing; loss and gradient norm may be null then

	Start json.RawMessage `json:"start,omitempty"` // set in a line that only says what the run depends on
}

// read reads a run folder and a checkpoint; "" stands for the checkpoint of the folder.
func read(folder, model string) (*run, error) {
	if info, err := os.Stat(folder); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: have a file, want a run folder", folder)
	}
	in := func(name string) string { return filepath.Join(folder, name) }
	r := &run{iteration: -1}
	if model == "" {
		if _, err := os.Stat(in("checkpoint.safetensors")); err == nil {
			model = in("checkpoint.safetensors")
		}
	}
	if model != "" {
		if err := r.readModel(model); err != nil {
			return nil, err
		}
	}
	if err := r.readConfig(in("config.yaml")); err != nil {
		return nil, err
	}
	if err := r.readSteps(in("train.jsonl")); err != nil {
		return nil, err
	}
	results, err := report.Read(in("results.json"))
	if err == nil {
		r.results = &results
		if r.iteration >= 0 {
			r.changed = configs.Changed(r.settings(), *r.config, configs.Features, configs.Scores)
		}
		err = r.readDetails(in)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if r.results == nil && r.steps == nil && r.config == nil {
		return nil, fmt.Errorf("%s: have none of results.json, train.jsonl, config.yaml and checkpoint.safetensors, want a run folder", folder)
	}
	return r, nil
}

// readSteps reads the journal of a training.
func (r *run) readSteps(path string) error {
	lines, err := readLines[step](path, true, func(s *step) error {
		if s.Iteration < 0 || math.IsNaN(s.Loss+s.LR+s.GradNorm) {
			return fmt.Errorf("have %+v", *s)
		}
		return nil
	})
	for _, s := range lines {
		switch {
		case s.Start != nil:
		case s.Skipped != "":
			r.leftOut = append(r.leftOut, s)
		default:
			r.steps = append(r.steps, s)
		}
	}
	return err
}

func (r *run) readModel(path string) error {
	f, err := checkpoint.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Info != nil {
		r.config, r.iteration = &f.Info.Config, f.Info.Iteration
	}
	r.heads, err = calibration.ReadHeads(f)
	return err
}

// readConfig reads the configuration of the folder if the checkpoint has none.
func (r *run) readConfig(path string) error {
	if r.config != nil {
		return nil
	}
	text, err := regularfile.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	cfg, err := configs.Parse(path, text)
	r.config = &cfg
	return err
}

// readDetails reads the other files of an evaluation. Any of them may be missing.
func (r *run) readDetails(in func(string) string) error {
	var err error
	if r.images, err = readLines[score.Image](in("scores.jsonl"), false, nil); err != nil {
		return err
	}
	if r.objects, err = readLines[score.Object](in("objects.jsonl"), false, nil); err != nil {
		return err
	}
	curves, err := readLines(in("curves.jsonl"), false, func(c *score.Curve) error {
		if !(c.Limit > 0 && c.Limit <= 1) {
			return fmt.Errorf("aupro_limit: have %v, want above 0, at most 1", c.Limit)
		}
		return c.Check()
	})
	if err != nil {
		return err
	}
	r.curves = map[string]score.Curve{}
	for _, c := range curves {
		r.curves[c.Class] = c
	}
	r.exhibits, err = readLines[picture.Exhibit](in("gallery.jsonl"), false, nil)
	return err
}

// maxFile bounds the bytes of a file of a run folder.
const maxFile = 1 << 30

// readLines reads one value per line; none if there is no file. If growing is set, a last line without an end is still
// being written and is ignored. Errors name file and line.
func readLines[T any](path string, growing bool, check func(*T) error) ([]T, error) {
	text, err := regularfile.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []T
	for number := 1; len(text) > 0; number++ {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		text = rest
		if !whole && growing {
			break
		}
		var v T
		err := json.Unmarshal(line, &v)
		if err == nil && check != nil {
			err = check(&v)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		out = append(out, v)
	}
	return out, nil
}
