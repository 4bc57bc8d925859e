package tensor

// Replayer calls work that is repeated with other values in tensors of the same shapes, and replays it once it has
// captured it: a step has some thousand operations, whose launches one at a time may take the host longer than the work
// takes the device.
type Replayer struct {
	// Record is RecordGraph; tests have another; where it is nil, all work is called.
	Record func(s *Scope, d Device, like Recording, work func()) (Recording, error)

	failed func(why error)
	scope  *Scope // of captured graphs
	device Device
	kinds  map[string]*replayed
	latest Recording
}

// Recording is captured work.
type Recording interface{ Replay() }

// replayed is one kind of work. It reads its inputs from memory that stays.
type replayed struct {
	calls     int // before it was captured
	recording Recording
	in        []*Tensor
	out       *Tensor
}

// warmupCalls is the number of calls of a kind of work before the one that is captured: in them libraries load and
// choose their kernels.
const warmupCalls = 2

// NewReplayer makes a Replayer whose graphs live in s. It captures where d is a CUDA device and enabled is set. failed
// is told, once, why nothing can be captured; all work is called then.
func NewReplayer(s *Scope, d Device, enabled bool, failed func(why error)) *Replayer {
	r := &Replayer{failed: failed, scope: s, device: d, kinds: map[string]*replayed{}}
	if d != CPU && enabled {
		r.Record = RecordGraph
	}
	return r
}

// Call returns work(s, in), or its replay. Everything that decides what work launches, except the values of in, has to
// be part of kind. The next Call may overwrite the result.
func (r *Replayer) Call(s *Scope, kind string, in []*Tensor, work func(s *Scope, in []*Tensor) *Tensor) *Tensor {
	k := r.kind(kind)
	if r.Record == nil || k.calls < warmupCalls {
		k.calls++
		return work(s, in)
	}
	if k.recording == nil {
		if err := r.record(k, in, work); err != nil {
			r.Record = nil
			r.failed(err)
			return work(s, in)
		}
	}
	for i, t := range in {
		k.in[i].CopyFrom(t)
	}
	k.recording.Replay()
	return k.out
}

// Count is told of a call of this kind of work that was not made through Call.
func (r *Replayer) Count(kind string) { r.kind(kind).calls++ }

func (r *Replayer) kind(name string) *replayed {
	k := r.kinds[name]
	if k == nil {
		k = &replayed{}
		r.kinds[name] = k
	}
	return k
}

func (r *Replayer) record(k *replayed, in []*Tensor, work func(*Scope, []*Tensor) *Tensor) error {
	for _, t := range in {
		k.in = append(k.in, Zeros(r.scope, t.Device(), t.DType(), t.Shape()...))
	}
	recording, err := r.Record(r.scope, r.device, r.latest, func() {
		k.out = r.scope.Local(func(s *Scope) *Tensor { return work(s, k.in) })
	})
	if err == nil {
		k.recording, r.latest = recording, recording
	}
	return err
}
