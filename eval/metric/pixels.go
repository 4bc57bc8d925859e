package metric

import (
	"fmt"
	"slices"
)

// AUPROLimit is the false-positive rate up to which AUPRO is customarily
// integrated.
const AUPROLimit = 0.3

// Pixels gathers the anomaly maps of one class. The zero value is empty.
//
// There are two ways to use it, with the same results:
//
//   - Add all pictures in any order. Scores are kept: 4 bytes for a normal
//     pixel, 8 for an anomalous one.
//   - Add the pictures with anomalous pixels, call Seal, then Add the others,
//     which are counted and dropped: memory does not grow with them. Only
//     AUPRO200 is lost, for its thresholds follow from the range of all scores.
//
// A Pixels must not be used by several goroutines at once; it starts its own.
type Pixels struct {
	positives []uint64   // see positive
	negatives [][]uint32 // keys, a slice for each picture; nil once sealed
	masks     int        // pictures with anomalous pixels
	regions   int
	sealed    *ranks

	keys []uint32 // scratch of Add: keys of one picture
	runs regions  // scratch of Add: mask of one picture
}

// PixelRanking is the ranking of all pixels of a class. Undefined values are
// NaN.
type PixelRanking struct {
	Ranking
	// AUPRO is the mean overlap with the 8-connected regions of each picture,
	// averaged over false-positive rates from 0 to the limit (Bergmann et al.,
	// The MVTec Anomaly Detection Dataset, IJCV 2021).
	AUPRO float64
	// Anomalous and Normal count pixels.
	Anomalous, Normal int64
	// Masks counts pictures with anomalous pixels, Regions their regions.
	Masks, Regions int
}

// Add takes one picture: scores and mask are [height, width], row by row, and
// a nil mask means that no pixel is anomalous. Nothing is kept of the slices,
// and nothing is changed if there is an error. Errors name the picture.
func (p *Pixels) Add(name string, scores []float32, mask []bool, height, width int) error {
	if height < 1 || width < 1 || len(scores) != height*width {
		return fmt.Errorf("picture %q: map: have %d values, want %dx%d", name, len(scores), height, width)
	}
	if mask != nil && len(mask) != len(scores) {
		return fmt.Errorf("picture %q: mask: have %d pixels, want %d (%dx%d) as the map has",
			name, len(mask), len(scores), height, width)
	}
	p.keys = slices.Grow(p.keys[:0], len(scores))[:len(scores)]
	if i := toKeys(p.keys, scores); i >= 0 {
		return fmt.Errorf("picture %q: score at row %d, column %d: have NaN, want a number", name, i/width, i%width)
	}
	regions := p.runs.find(mask, width)
	if p.sealed == nil {
		p.keep(regions)
		return nil
	}
	if n := p.runs.pixels(); n > 0 {
		return fmt.Errorf("picture %q: mask: have %d anomalous pixels after Seal, want none", name, n)
	}
	p.sealed.count(slices.Collect(slices.Chunk(p.keys, len(p.keys)/maxWorkers+1)))
	return nil
}

// keep stores the picture in p.keys and p.runs.
func (p *Pixels) keep(regions int) {
	anomalous := p.runs.pixels()
	negatives := make([]uint32, 0, len(p.keys)-anomalous)
	p.positives = slices.Grow(p.positives, anomalous)
	done := 0
	for _, r := range p.runs {
		negatives = append(negatives, p.keys[done:r.from]...)
		for _, k := range p.keys[r.from:r.to] {
			p.positives = append(p.positives, positive(k, r.size))
		}
		done = r.to
	}
	p.negatives = append(p.negatives, append(negatives, p.keys[done:]...))
	p.regions += regions
	if anomalous > 0 {
		p.masks++
	}
}

// Seal declares that all pictures with anomalous pixels have been added. Their
// normal pixels are counted and dropped, as those of later pictures will be.
func (p *Pixels) Seal() {
	if p.sealed == nil {
		p.sealed = p.rank()
		p.negatives = nil
	}
}

// rank counts the normal pixels that are kept.
func (p *Pixels) rank() *ranks {
	r := newRanks(p.positives)
	r.count(p.negatives)
	return r
}

// Rank evaluates the pixels added so far. Limit is that of AUPRO, above 0 and
// at most 1. More pictures may follow.
func (p *Pixels) Rank(limit float64) (PixelRanking, error) {
	if !(limit > 0 && limit <= 1) {
		return PixelRanking{}, fmt.Errorf("aupro limit: have %v, want above 0 and at most 1", limit)
	}
	r := p.sealed
	if r == nil {
		r = p.rank()
	}
	return PixelRanking{
		Ranking:   r.ranking(),
		AUPRO:     r.aupro(p.regions, limit),
		Anomalous: int64(len(p.positives)),
		Normal:    r.negatives,
		Masks:     p.masks,
		Regions:   p.regions,
	}, nil
}
