package train

import (
	"fmt"
	"maps"
	"slices"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/team"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
)

// part is this rank's part of each batch.
func (r *run) part() dataset.Part {
	return dataset.Part{Index: r.team.Rank(), Count: r.team.Size()}
}

// agreeOnSettings compares what the ranks were started with, and their copies of the data set.
func (r *run) agreeOnSettings(resume bool) error {
	if r.team == nil {
		return nil
	}
	if err := r.team.Agree(r.settings(resume)...); err != nil {
		return err
	}
	if objects, n := r.cfg.Train.Objects, r.team.Size(); objects%n != 0 {
		return r.team.Common(fmt.Errorf("train.objects: have %d, want a multiple of the %d ranks", objects, n))
	}
	return r.team.Agree(team.Fact{Name: "the data set (classes, objects, which images there are, sizes of their files)", Value: r.data.Fingerprint()})
}

// settings are those on which ranks have to agree: what decides results, and when ranks meet.
func (r *run) settings(resume bool) (facts []team.Fact) {
	all := configs.Deciding(r.cfg)
	deciding := configs.Deciding(r.cfg, configs.Layout, configs.Features, configs.Training)
	for _, key := range []string{"train.checkpoint_every", "train.log_every", "train.on_nan", "cuda_graph", "deterministic", "data.on_error", "data.max_unreadable"} {
		deciding[key] = all[key]
	}
	for _, key := range slices.Sorted(maps.Keys(deciding)) {
		facts = append(facts, team.Fact{Name: key, Value: deciding[key]})
	}
	return append(facts, team.Fact{Name: "--resume", Value: fmt.Sprint(resume)})
}

// agreeOnCheckpoint compares which checkpoint the ranks go on from; failure is why this rank cannot.
func (r *run) agreeOnCheckpoint(failure error) error {
	if err := r.agree(failure); err != nil || r.team == nil {
		return err
	}
	have := "none"
	if r.earlier != nil {
		have = fmt.Sprintf("iteration %d", r.earlier.Iteration)
	}
	err := r.team.Agree(team.Fact{Name: r.path + ", in a folder that all ranks share (output)", Value: have})
	if err != nil || r.cfg.Precision != configs.Auto {
		return err
	}
	precision, err := model.AutoPrecision(r.cfg.Device)
	if err == nil {
		r.cfg.Precision, err = r.ofFirst(precision)
	}
	return err
}

// agreeOnModel compares what the ranks have opened, and joins their devices; failure is why this rank could not.
func (r *run) agreeOnModel(s *tensor.Scope, m *model.Trained, failure error) error {
	if err := r.agree(failure); err != nil || r.team == nil {
		return err
	}
	kind := "cpu"
	if m.Device != tensor.CPU {
		kind = "cuda"
	}
	err := r.team.Agree(team.Fact{Name: "device", Value: kind}, team.Fact{Name: "SHA-256 of backbone.weights", Value: m.BackboneSHA256},
		team.Fact{Name: "SHA-256 of " + r.path, Value: m.SHA256})
	if err == nil {
		err = r.team.Group().Use(m.Device)
	}
	if err == nil { // NCCL connects here, which cannot be captured
		r.team.Group().AllReduce(tensor.Zeros(s, m.Device, tensor.Float, 1))
	}
	return err
}

// ofFirst returns the value that rank 0 has.
func (r *run) ofFirst(mine string) (string, error) {
	said, err := r.team.Meet([]byte(mine), nil)
	if err != nil {
		return "", err
	}
	return string(said[0]), nil
}

// agreeOnState holds that all ranks have the same weights and moments, bit for bit, and returns the hashes of the images
// that the others have read.
func (r *run) agreeOnState() (read dataset.FileHashes, err error) {
	if r.team == nil {
		return nil, nil
	}
	sum := tensor.Checksum(r.stepper.tensors())
	err = r.team.Agree(team.Fact{Name: fmt.Sprintf("checksum of the weights after iteration %d", r.done), Value: fmt.Sprintf("%016x", uint64(sum))})
	if err != nil {
		return nil, err
	}
	mine, err := r.data.Source.Read.Hashes(nil).MarshalText()
	said, err := r.team.Meet(mine, err)
	for _, text := range said {
		var list dataset.FileHashes
		if err == nil {
			err = list.UnmarshalText(text)
		}
		read = append(read, list...)
	}
	return read, err
}
