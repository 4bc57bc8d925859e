package train

import "mvag-torch/internal/tensor"

// replayer takes steps by replaying one that was recorded: a step has some
// thousand operations, whose launches, one at a time, can take the host longer
// than the work takes the device.
type replayer struct {
	scope  *tensor.Scope // of what is recorded
	device tensor.Device
	record recorder
	failed bool
	kinds  [2]recording // of steps without and with jitter
}

// recorder is tensor.Record, or what tests have in its place.
type recorder func(s *tensor.Scope, d tensor.Device, like graph, work func()) (graph, error)

type graph interface{ Replay() }

func cudaGraph(s *tensor.Scope, d tensor.Device, like graph, work func()) (graph, error) {
	shared, _ := like.(*tensor.Graph)
	return tensor.Record(s, d, shared, work)
}

// recording is one kind of step. It reads its inputs from, and writes its result
// to, memory that stays.
type recording struct {
	taken int // steps, before it was recorded
	graph graph
	in    inputs
	out   *tensor.Tensor // [2]
}

// unrecorded is the number of steps of a kind that are taken before the one that is
// recorded: libraries load and choose their kernels in the first ones.
const unrecorded = 2

func newReplayer(s *tensor.Scope, d tensor.Device, record recorder) *replayer {
	return &replayer{scope: s, device: d, record: record}
}

// step takes a step whose work is advance. The error says why nothing can be
// recorded; the step was taken.
func (r *replayer) step(s *tensor.Scope, in inputs, advance func(*tensor.Scope, inputs) *tensor.Tensor) (*tensor.Tensor, error) {
	kind, other := &r.kinds[0], &r.kinds[1]
	if in.jitter != nil {
		kind, other = other, kind
	}
	if r.failed || kind.taken < unrecorded {
		kind.taken++
		return advance(s, in), nil
	}
	if kind.graph == nil {
		kind.allocate(r.scope, in)
		g, err := r.record(r.scope, r.device, other.graph, func() {
			r.scope.Local(func(s *tensor.Scope) *tensor.Tensor {
				out := advance(s, kind.in)
				tensor.NoGrad(func() { kind.out.CopyFrom(out) })
				return nil
			})
		})
		if err != nil {
			r.failed = true
			return advance(s, in), err
		}
		kind.graph = g
	}
	tensor.NoGrad(func() { kind.fill(in) })
	kind.graph.Replay()
	return kind.out, nil
}

// allocate makes the memory of inputs like in, and of the result.
func (k *recording) allocate(s *tensor.Scope, in inputs) {
	like := func(t *tensor.Tensor) *tensor.Tensor {
		if t == nil {
			return nil
		}
		return tensor.Zeros(s, t.Device(), t.DType(), t.Shape()...)
	}
	k.in = inputs{batch: like(in.batch), rates: like(in.rates), jitter: like(in.jitter)}
	k.out = tensor.Zeros(s, in.rates.Device(), tensor.Float, 2)
}

// fill copies in to where the recorded step reads.
func (k *recording) fill(in inputs) {
	k.in.batch.CopyFrom(in.batch)
	k.in.rates.CopyFrom(in.rates)
	if in.jitter != nil {
		k.in.jitter.CopyFrom(in.jitter)
	}
}
