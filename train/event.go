package train

import (
	"time"

	"mvag-torch/model/memory"
)

// Sink shows a run to a person. Its methods are called from the training thread and should return at once.
type Sink interface {
	// Begin is called once, before the first step.
	Begin(Begin)
	// Features is called with train.cache_features, and where a memory is fitted, between Begin and the first step:
	// once, then after each object whose features were computed.
	Features(Features)
	// Remembered is called after the memory was fitted.
	Remembered(*memory.Memory)
	// Mended is called after what was kept of an object was found damaged and was made anew; damage says where, and on which
	// rank if not on the first, of which it is told before Saved.
	Mended(damage error)
	// Uncaptured is called, at most once, where cuda_graph is on and a step cannot be captured; the run goes on
	// without.
	Uncaptured(why error)
	// Notice is told in a line what the run waits for, or has to do without.
	Notice(line string)
	// Step is called after each step.
	Step(Step)
	// Skipped is called where a step changed nothing (train.on_nan: skip).
	Skipped(Skipped)
	// Saved is called after a checkpoint was written.
	Saved(path string, iteration int)
}

// Begin describes a run about to start.
type Begin struct {
	Folder     string // the run folder
	Device     string
	Kernels    string // what computes the model, for people
	Auto       string // what the settings that are auto have become: "precision fp32"; "" where none is
	Start      int    // steps taken before: 0, or the resumed checkpoint's
	Repaired   error  // why the run goes on from the checkpoint before the latest; nil where it does not
	Lost       error  // lines of train.jsonl that could not be read, or steps that are not in it; nil where there are none
	Iterations int
	Objects    int // training objects
	Images     int // training images
	Classes    int
	Params     int64 // trainable parameters
	Missing    int   // images that the index does not have
	Batches    int64 // bytes that prefetched batches take

	Tiles string // how many tiles an image has and what they cost, in words; "" where it is not cut

	// Differs are the circumstances in which this start differs from the one before, as "threads 2, was 4": the results
	// may differ in their last bits from those of an uninterrupted run.
	Differs []string

	FirstMissing string // one of the missing images, "" where there is none
}

// Step describes the steps so far.
type Step struct {
	Done     int     // steps taken in all
	Loss     float64 // of the latest step that was read back
	LR       float64
	Rate     float64       // images, or tiles of them, per second since Begin
	DataWait float64       // fraction of the time spent waiting for images
	Left     time.Duration // estimated
}

// Skipped describes a step whose loss or gradient norm was not finite, so that it changed nothing.
type Skipped struct {
	Iteration          int
	LR, Loss, GradNorm float64
	First              string // which tensor is the first that is not finite, in words
	Count, Most        int    // such steps of the run so far, of how many
}

// Features describes how far train.cache_features is filled, or the pass that fits the memory.
type Features struct {
	Memory        bool   // features are not kept
	Done, Objects int    // objects whose features are there, training objects
	Bytes         int64  // size of the features that were missing at first
	Path          string // the file, "" in memory
}

// silent is the Sink of all ranks but the first.
type silent struct{}

func (silent) Begin(Begin)               {}
func (silent) Features(Features)         {}
func (silent) Remembered(*memory.Memory) {}
func (silent) Mended(error)              {}
func (silent) Uncaptured(error)          {}
func (silent) Notice(string)             {}
func (silent) Step(Step)                 {}
func (silent) Skipped(Skipped)           {}
func (silent) Saved(string, int)         {}
