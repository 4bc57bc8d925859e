package metric

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"mvag-torch/internal/components"
)

// AUPROLimit is the false-positive rate up to which AUPRO is customarily integrated.
const AUPROLimit = 0.3

// Image is the anomaly map of one image with its labels. Scores and masks are [Height, Width], row by row.
type Image struct {
	Name          string // for errors
	Height, Width int
	Scores        []float32
	Exact         []float64 // the scores, instead of Scores, where Pixels has a Scale
	Mask          []bool    // the anomalous pixels; nil if there are none
	// Other is the mask by another rule, for Summary.Other. Either all images with a Mask have it or none.
	Other []bool

	View   int    // camera
	Code   string // kind of defect
	Object string // physical part
}

// Pixels gathers the anomaly maps of one class. The zero value is empty.
//
// There are two ways to use it, with the same exact results:
//
//   - Add all images in any order. Scores are kept: 4 bytes per normal pixel, 8 per anomalous one.
//   - Add the images with anomalous pixels, call Seal, then Add the others, which are counted and dropped: memory does
//     not grow with them.
//
// Several goroutines may use it at once.
type Pixels struct {
	// Scale is that of all images with their scores as float64; nil for float32. It is set before the first Add.
	Scale *Scale

	mu          sync.Mutex
	images      []origin // of the images with pixels in a mask
	mask, other labels
	lost        []uint32 // keys of the pixels in Mask only
	gained      []uint32 // keys of the pixels in Other only
	kept        []chunk  // normal pixels; nil once sealed
	all, marked span     // ranges of the keys of all images, and of those with pixels in a mask
	sealed      *ranks
}

// span is a range of keys.
type span struct {
	Low, High uint32
	Used      bool // false for an empty range
}

func (s *span) add(o span) {
	switch {
	case !o.Used:
	case !s.Used:
		*s = o
	default:
		s.Low, s.High = min(s.Low, o.Low), max(s.High, o.High)
	}
}

// origin is what results are grouped by.
type origin struct {
	View         int
	Code, Object string
}

// labels are the anomalous pixels by one rule.
type labels struct {
	Positives []uint64 // key and region, see pack
	Regions   []region
	Masks     int // images with anomalous pixels
}

type region struct{ Size, Image uint32 }

// chunk is a list of normal pixels of one camera, as keys.
type chunk struct {
	view int
	keys []uint32
}

// scratch is the memory that Add needs for one image.
type scratch struct {
	keys        []uint32
	mask, other components.Runs
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Add takes one image. It keeps none of its slices. After an error, which names the image, p is unchanged.
func (p *Pixels) Add(x Image) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	scores, err := s.read(&x, p.Scale)
	if err != nil {
		return err
	}
	masked, other := s.mask.Find(x.Mask, x.Width), s.other.Find(x.Other, x.Width)
	if masked+other > 0 {
		return p.keep(&x, s, masked, other, scores)
	}
	p.mu.Lock()
	p.all.add(scores)
	sealed := p.sealed
	if sealed == nil {
		p.kept = append(p.kept, chunk{x.View, slices.Clone(s.keys)})
	}
	p.mu.Unlock()
	if sealed != nil {
		sealed.count(x.View, s.keys)
	}
	return nil
}

// read checks an image and turns its scores into keys.
func (s *scratch) read(x *Image, scale *Scale) (span, error) {
	n, have := x.Height*x.Width, len(x.Scores)
	if scale != nil {
		have = len(x.Exact)
	}
	if x.Height < 1 || x.Width < 1 || have != n {
		return span{}, fmt.Errorf("image %q: map: have %d values, want %dx%d", x.Name, have, x.Height, x.Width)
	}
	for _, mask := range [][]bool{x.Mask, x.Other} {
		if mask != nil && len(mask) != n {
			return span{}, fmt.Errorf("image %q: mask: have %d pixels, want %d (%dx%d) as the map has",
				x.Name, len(mask), n, x.Height, x.Width)
		}
	}
	s.keys = slices.Grow(s.keys[:0], n)[:n]
	var low, high uint32
	var i int
	if scale == nil {
		low, high, i = toKeys(s.keys, x.Scores)
	} else {
		low, high, i = scale.keys(s.keys, x.Exact)
	}
	if i >= 0 {
		return span{}, fmt.Errorf("image %q: score at row %d, column %d: have NaN, want a number", x.Name, i/x.Width, i%x.Width)
	}
	return span{low, high, true}, nil
}

// keep stores an image with pixels in a mask.
func (p *Pixels) keep(x *Image, s *scratch, masked, other int, scores span) error {
	negatives := make([]uint32, 0, len(s.keys)-s.mask.Pixels())
	done := 0
	for _, r := range s.mask {
		negatives = append(negatives, s.keys[done:r.From]...)
		done = r.To
	}
	negatives = append(negatives, s.keys[done:]...)

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sealed != nil {
		return fmt.Errorf("image %q: mask: have %d anomalous pixels after Seal, want none",
			x.Name, max(s.mask.Pixels(), s.other.Pixels()))
	}
	p.all.add(scores)
	p.marked.add(scores)
	p.kept = append(p.kept, chunk{x.View, negatives})
	number := uint32(len(p.images))
	p.images = append(p.images, origin{x.View, x.Code, x.Object})
	p.mask.add(s.keys, s.mask, masked, number)
	if x.Other == nil {
		return nil
	}
	p.other.add(s.keys, s.other, other, number)
	for i, in := range x.Other {
		switch masked := x.Mask != nil && x.Mask[i]; {
		case masked && !in:
			p.lost = append(p.lost, s.keys[i])
		case in && !masked:
			p.gained = append(p.gained, s.keys[i])
		}
	}
	return nil
}

// add adds the runs of one image, which has n regions.
func (l *labels) add(keys []uint32, runs components.Runs, n int, image uint32) {
	first := len(l.Regions)
	l.Regions = append(l.Regions, make([]region, n)...)
	l.Positives = slices.Grow(l.Positives, runs.Pixels())
	for _, r := range runs {
		number := first + r.Component
		l.Regions[number] = region{uint32(r.Size), image}
		for _, k := range keys[r.From:r.To] {
			l.Positives = append(l.Positives, pack(k, uint32(number)))
		}
	}
	if n > 0 {
		l.Masks++
	}
}

// Seal declares that all images with anomalous pixels have been added. Normal pixels, those added before and those to
// come, are counted and dropped from now on.
func (p *Pixels) Seal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sealed == nil {
		kept := p.kept
		p.kept = nil
		more := p.cuts() // where they are known already
		if p.Scale == nil {
			more = p.grid()
		}
		p.sealed = p.rank(kept, more)
	}
}

// rank counts normal pixels between the scores of the anomalous ones and further edges. It empties the list.
func (p *Pixels) rank(normal []chunk, more []uint32) *ranks {
	slices.Sort(more)
	slices.Sort(p.gained)
	edges := union(distinct(p.mask.Positives), union(more, p.gained))
	views := map[int]bool{}
	for _, c := range normal {
		views[c.view] = true
	}
	workers := runtime.GOMAXPROCS(0)
	// Lanes cost memory, and goroutines that count different cameras need no further ones.
	r := newRanks(edges, max(1, workers/max(1, len(views))))
	r.countAll(normal)
	return r
}

// gridBits limits the edges that Seal adds for Compat to 2^16.
const gridBits = 16

// grid returns edges in equal steps of keys over the range of scores of the images with pixels in a mask, so that few
// negatives lie between any two edges.
func (p *Pixels) grid() []uint32 {
	if !p.marked.Used {
		return nil
	}
	width := uint64(1)
	low, high := uint64(p.marked.Low), uint64(p.marked.High)
	for (high-low)/width >= 1<<gridBits {
		width *= 2
	}
	var edges []uint32
	for k := (low + width - 1) / width * width; k <= high; k += width {
		edges = append(edges, uint32(k))
	}
	return edges
}

// checkLimits checks the limits of AUPRO.
func checkLimits(limits []float64) error {
	for _, l := range limits {
		if !(l > 0 && l <= 1) {
			return fmt.Errorf("aupro limit: have %v, want above 0 and at most 1", l)
		}
	}
	if len(limits) == 0 {
		return fmt.Errorf("aupro limit: have none, want one at least")
	}
	return nil
}

// scoreRange returns the lowest and the highest score, NaN without any.
func (p *Pixels) scoreRange() (low, high float64) {
	switch {
	case !p.all.Used:
		return math.NaN(), math.NaN()
	case p.Scale != nil:
		return p.Scale.low, p.Scale.high
	}
	return float64(value(p.all.Low)), float64(value(p.all.High))
}
