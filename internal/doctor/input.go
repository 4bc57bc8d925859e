package doctor

import (
	"fmt"
	"io"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/regularfile"
)

// backboneCheck reports on the weights file. Without a probe it can only say that the file is readable.
func backboneCheck(cfg configs.Config, p *Probe) Check {
	path := cfg.Backbone.Weights
	remedy := "set backbone.weights to a file of " + cfg.Backbone.Name + "; mvag-torch backbone --help says how to get one"
	n, err := readable(path)
	switch {
	case err != nil:
		return Check{"backbone", Fail, oneLine(err), remedy}
	case p != nil && p.Backbone != "":
		return Check{"backbone", Fail, p.Backbone, remedy}
	}
	return Check{"backbone", OK, fmt.Sprintf("%s (%s), %s", path, machine.Size(n), cfg.Backbone.Name), ""}
}

// readable reads the first bytes of a file and returns its size.
func readable(path string) (uint64, error) {
	f, size, err := regularfile.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := io.ReadFull(f, make([]byte, 4)); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return uint64(size), nil
}

// dataCheck opens the data set, which reads the index and looks for the first images of each class. Command dataset
// check reads every image.
func dataCheck(cfg configs.Config) Check {
	set, err := dataset.Open(cfg.Data)
	if err == nil {
		err = set.CheckTrain()
	}
	if err != nil {
		return Check{"data", Fail, oneLine(err), "correct the section data of the configuration, or fetch the files again"}
	}
	c := Check{"data", OK, fmt.Sprintf("%s: %d classes, %d objects for training, %d to test; mvag-torch dataset check reads their images",
		cfg.Data.Root, len(set.Classes), len(set.Train), len(set.Test)), ""}
	if n := len(set.Missing); n > 0 {
		c.Status, c.Remedy = Warn, fmt.Sprintf("%d views have no image and are left out; the first: %s", n, set.Missing[0])
	}
	return c
}
