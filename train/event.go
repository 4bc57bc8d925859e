package train

import "time"

// Sink shows a run to a person. Its methods are called from the training
// thread and should return at once.
type Sink interface {
	// Begin is called once, before the first step.
	Begin(Begin)
	// Features is called with train.cache_features, after Begin and before the
	// first step: once, then after each object whose features were computed.
	Features(Features)
	// Unrecorded is called, once at most, where cuda_graph is in vain: the
	// run goes on as without it.
	Unrecorded(why error)
	// Step is called after each step.
	Step(Step)
	// Saved is called after a checkpoint was written.
	Saved(path string, iteration int)
}

// Begin describes a run about to start.
type Begin struct {
	Folder     string // the run folder
	Device     string
	Start      int // steps taken before: 0, or the resumed checkpoint's
	Iterations int
	Objects    int // training objects
	Pictures   int // training pictures
	Classes    int
	Params     int64 // trainable numbers
	Missing    int   // pictures that the index lacks
	Batches    int64 // bytes that batches read ahead take

	FirstMissing string // one of them, "" where there is none
}

// Step describes the steps so far.
type Step struct {
	Done     int     // steps taken in all
	Loss     float64 // of the latest step that was read back
	LR       float64
	Rate     float64       // pictures a second since Begin
	DataWait float64       // share of the time spent waiting for pictures
	Left     time.Duration // estimated
}

// Features describes the filling of train.cache_features.
type Features struct {
	Done, Objects int    // objects that there are features of, training objects
	Bytes         int64  // that the features lacking at first take
	Path          string // the file, "" in memory
}
