package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/team"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/memory"
)

// CheckpointName is the name of the checkpoint in a run folder.
const CheckpointName = "checkpoint.safetensors"

// Folder is the run folder of a configuration.
func Folder(cfg configs.Config) string { return filepath.Join(cfg.Output, cfg.Name) }

// Run trains cfg on the training objects of data except the hold-out (train.holdout, [dataset.Set.HoldOut]) and leaves
// the run folder with config.yaml, train.jsonl and the checkpoint. When ctx ends, or an image cannot be read, a
// checkpoint is written first.
func Run(ctx context.Context, cfg configs.Config, data *dataset.Set, opt Options, sink Sink) error {
	if opt.Team.Rank() > 0 {
		sink = silent{}
	}
	return start(&run{ctx: ctx, cfg: cfg, data: data, team: opt.Team, sink: sink, program: opt.Program}, opt.Resume)
}

// Options of Run.
type Options struct {
	// Resume goes on from the checkpoint of the run folder, if it has one, with the same results as if it had never
	// stopped. Without it, a run folder that has a checkpoint is an error.
	Resume bool
	// Team are the processes that the run is spread over; nil is this one alone. All of them call Run, with the same
	// configuration and data; rank 0 writes the run folder and calls the sink. Each takes its part of every batch, and the
	// results are those of one process up to the order of sums. Where ctx ends on one rank all stop, at the same step.
	Team *team.Team
	// Program is the version of the program, for the journal.
	Program string
}

// Enroll is Run without training: it fits the memory, and leaves a checkpoint of iteration 0 that has nothing else.
// Training may go on from it.
func Enroll(ctx context.Context, cfg configs.Config, data *dataset.Set, sink Sink) error {
	if cfg.Memory.Codes == 0 {
		return errors.New("memory.codes: have 0, want at least 1 to enroll")
	}
	return start(&run{ctx: ctx, cfg: cfg, data: data, sink: sink, alone: true}, false)
}

func start(r *run, resume bool) error {
	cfg, data := r.cfg, r.data
	if err := r.agree(data.CheckTrain()); err != nil {
		return err
	}
	r.lists = data.TrainLists()
	r.data, _ = data.HoldOut(cfg.Train.Holdout, cfg.Seed)
	r.path, r.saved = filepath.Join(Folder(cfg), CheckpointName), -1
	r.data.Source.Read = &dataset.ReadImages{} // of a copy
	if err := r.agreeOnSettings(resume); err != nil {
		return err
	}
	earlier, err := r.openEarlier(resume)
	if earlier != nil {
		defer earlier.Close()
	}
	if err := r.agreeOnCheckpoint(err); err != nil {
		return err
	}
	if earlier != nil {
		r.data.UseDepths(earlier.Info.Depths)
	}
	r.tiles = dataset.Tiled(r.data.Train, r.data.Source.Fit)
	return tensor.Run(func(s *tensor.Scope) error {
		m, err := model.Open(s, r.cfg, earlier)
		if err := r.agreeOnModel(s, m, err); err != nil {
			return err
		}
		r.device, r.backbone, r.memory = m.Device, m.BackboneSHA256, m.Memory
		if err := r.settle(cfg, m.Model); err != nil {
			return err
		}
		r.stepper = NewStepper(s, r.cfg, m.Model, r.team.Group(), r.uncaptured)
		if err := r.prepare(earlier); err != nil {
			return err
		}
		return errors.Join(r.loop(s), r.journal.close())
	})
}

// prepare takes the state of an earlier checkpoint, if there is one, and lets rank 0 open the run folder.
func (r *run) prepare(earlier *checkpoint.File) error {
	var err error
	if earlier != nil {
		if err = r.restore(earlier); err != nil {
			err = fmt.Errorf("%s: %w", earlier.Path, err)
		}
	}
	if err == nil && r.team.Rank() == 0 {
		err = r.openFolder()
	}
	return r.agree(err)
}

// uncaptured is told that steps cannot be captured. That ends a run of several ranks, of which others may capture them.
func (r *run) uncaptured(why error) {
	if r.team == nil {
		r.sink.Uncaptured(why)
		return
	}
	r.trouble = fmt.Errorf("cuda_graph: have true, want false, since a step cannot be captured: %w", why)
}

// run is the state of a training run.
type run struct {
	ctx      context.Context
	cfg      configs.Config
	data     *dataset.Set      // without the hold-out
	tiles    []dataset.Object  // the training objects, or their tiles, which are trained on as objects
	lists    map[string]string // of the training objects with it
	team     *team.Team        // nil alone
	sink     Sink
	device   tensor.Device
	backbone string           // SHA-256 of the backbone's file
	program  string           // its version
	differs  []string         // in what circumstances this start differs from the one before
	auto     string           // what the settings that were auto have become
	earlier  *checkpoint.Info // of the checkpoint to go on from; nil without one
	repaired error            // why that is not the latest; nil where it is
	lost     error            // lines of the journal that could not be read or are not there; nil where all are
	path     string           // of the checkpoint

	memory *memory.Memory // nil until it is fitted
	alone  bool           // the memory is all that is made

	stepper *Stepper
	journal *journal // nil on all ranks but the first
	done    int      // steps taken
	saved   int      // steps in the checkpoint on disk; -1 without one

	mended []string // damages, of which another rank than the first tells it (tellMended)

	stopping bool  // a rank wants to stop
	trouble  error // of this rank, of which the next roll call tells the others

	every   int            // steps after which losses are read back; 0 until the loop decides
	ring    *tensor.Tensor // loss and gradient norm of steps not yet read back [k, 2]
	pending []record       // the same steps, without those two
	loss    float64        // the latest that was read back
	skipped []int          // iterations that changed nothing (train.on_nan)

	// again reads the part of this rank of an earlier batch once more.
	again func(it int) (*Batch, error)
}

// openEarlier opens the checkpoint to go on from, which has to belong to this run; nil where there is none.
func (r *run) openEarlier(resume bool) (*checkpoint.File, error) {
	f, why, err := checkpoint.OpenLast(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("output: %q has a file in it where it wants a folder", Folder(r.cfg))
	case err != nil:
		return nil, err
	}
	if err := r.accept(f, resume); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	r.done, r.saved, r.earlier, r.repaired = f.Info.Iteration, f.Info.Iteration, f.Info, why
	r.skipped = f.Info.Skipped
	return f, nil
}

func (r *run) accept(f *checkpoint.File, resume bool) error {
	if f.Info == nil {
		return errors.New("have bare weights, want a checkpoint")
	}
	if f.Bundle != nil {
		return errors.New("have a bundle, which training cannot go on from as it has no state of the optimiser; " +
			"want the checkpoint that it was made from, or another name with --set name=…")
	}
	if !resume && !(r.alone && f.Info.Iteration == 0 && f.Calibration() == "") { // else it was stopped before its thresholds
		how := "go on with --resume"
		if r.alone {
			how = "train --resume goes on from it"
		}
		return fmt.Errorf("have a checkpoint of iteration %d; %s, or choose another name with --set name=…", f.Info.Iteration, how)
	}
	trained := f.Info.Config
	r.cfg.Adopt(trained)
	if trained.Train.CachesFeatures() && r.cfg.Train.CachesFeatures() {
		trained.Train.CacheFeatures = r.cfg.Train.CacheFeatures // memory and file hold the same bits
	}
	if f.Info.Iteration == 0 { // enrolled only: the hold-out and the memory are all that was decided
		holdout := trained.Train.Holdout
		trained.Train, trained.Model = r.cfg.Train, r.cfg.Model
		trained.Train.Holdout = holdout
	}
	if diff := configs.Diff(trained, r.cfg, configs.Layout, configs.Features, configs.Training); len(diff) > 0 {
		return fmt.Errorf("have a checkpoint of another configuration: %s; set what it was begun with, or another name", diff[0])
	}
	return nil
}

// openFolder makes the run folder and opens its journal; config.yaml is written when nothing speaks against the run.
func (r *run) openFolder() error {
	folder := Folder(r.cfg)
	text, err := configs.Marshal(r.cfg)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err == nil && r.repaired != nil {
		err = checkpoint.SetAside(r.path)
	}
	if err == nil {
		r.journal, err = openJournal(filepath.Join(folder, "train.jsonl"), r.done)
	}
	if err != nil {
		return err
	}
	r.lost = r.journal.lost
	if !r.alone && r.done < r.cfg.Train.Iterations {
		now := r.circumstances()
		r.differs = now.Differences(r.journal.earlier)
		if err := r.journal.begin(r.done, now); err != nil {
			return errors.Join(err, r.journal.close())
		}
	}
	err = atomicfile.Write(filepath.Join(folder, "config.yaml"), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return errors.Join(err, r.journal.close())
	}
	return nil
}
