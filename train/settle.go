package train

import (
	"fmt"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// freeMemory returns the bytes of memory that are free, 0 where that is unknown. Tests replace it.
var freeMemory = func() uint64 { return machine.ReadMemory().Free }

// settle replaces the settings that are auto, once for the whole run, by what rank 0 finds. given is the configuration as it was before those
// of an earlier checkpoint were adopted.
func (r *run) settle(given configs.Config, m *model.Model) (err error) {
	var said []string
	r.cfg.Precision = m.Precision
	if given.Precision == configs.Auto {
		said = append(said, "precision "+m.Precision)
	}
	why := "as before"
	if r.cfg.Train.CacheFeatures == configs.Auto {
		images := len(r.tiles) * r.cfg.Data.Views
		r.cfg.Train.CacheFeatures, why = cacheOn(m.Device, uint64(images)*uint64(m.PackedBytes()), freeMemory())
		if r.cfg.Train.CacheFeatures, err = r.ofFirst(r.cfg.Train.CacheFeatures); err != nil {
			return err
		}
	}
	if given.Train.CacheFeatures == configs.Auto && !r.alone { // nothing is kept to enroll
		said = append(said, fmt.Sprintf("train.cache_features %s (%s)", r.cfg.Train.CacheFeatures, why))
	}
	r.auto = strings.Join(said, ", ")
	return nil
}

// cacheOn is what train.cache_features auto is on a device, for features of the given bytes, and why: in memory on a CPU
// where they take at most half of what is free. A GPU encodes about as fast as cached features are uploaded
// (docs/performance.md).
func cacheOn(d tensor.Device, bytes, free uint64) (value, why string) {
	switch {
	case d != tensor.CPU:
		return "off", "on a GPU it saves little"
	case bytes > free/2:
		return "off", fmt.Sprintf("the features take %s, half of the free memory is %s", machine.Size(bytes), machine.Size(free/2))
	}
	return "ram", fmt.Sprintf("%s, free are %s", machine.Size(bytes), machine.Size(free))
}
