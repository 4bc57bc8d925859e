package metric

import (
	"slices"
	"sync"
)

// PixelRanking holds the metrics of the pixels of a class or of a part of it. Undefined values are NaN.
type PixelRanking struct {
	Ranking
	// AUPRO is the mean overlap with the 8-connected regions of each image, averaged over false-positive rates from 0
	// to the first limit (Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 2021).
	AUPRO float64
	// AUPROs are the same for each limit of Summarize.
	AUPROs []float64
	// Anomalous and Normal count pixels.
	Anomalous, Normal int64
	// Masks counts images with anomalous pixels, Regions their regions.
	Masks, Regions int
}

// Summary is the result of the pixels of a class.
type Summary struct {
	PixelRanking
	// Views are the results of each camera, among its own normal pixels.
	Views map[int]PixelRanking
	// Codes and Objects are the results of the anomalous pixels of each defect code and of each object, among all
	// normal pixels of the class.
	Codes   map[string]PixelRanking
	Objects map[string]PixelRanking
	// Other is the result by the masks of Image.Other; nil if no image had one.
	Other *PixelRanking
	// Compat are the values that other programs print.
	Compat Compat
	// Curve is the curve of all pixels, with a finer resolution up to the first limit.
	Curve Curve
}

func (p *Pixels) overall(c *counts, positives []uint64, limits []float64) PixelRanking {
	out := c.evaluate(positives, p.mask.Regions, len(p.mask.Regions), limits)
	out.Masks = p.mask.Masks
	return out
}

// Summarize evaluates the pixels added so far; more may follow. Limits are false-positive rates in (0, 1] up to which
// AUPRO is integrated, the headline's first. Its only error is a wrong limit.
func (p *Pixels) Summarize(limits ...float64) (Summary, error) {
	if err := checkLimits(limits); err != nil {
		return Summary{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.sealed
	if r == nil {
		r = p.rank(slices.Clone(p.kept), p.cuts()) // all scores are known, so that the thresholds of Compat can be edges
	}
	all := p.counts(r, allViews)
	among := func(string) *counts { return all }
	positives := indexed(r.index.edges, p.mask.Positives)
	var s Summary
	var parts sync.WaitGroup
	parts.Go(func() { s.PixelRanking, s.Compat = p.overall(all, positives, limits), p.compat(all) })
	parts.Go(func() { s.Codes = breakdown(p, positives, func(o origin) string { return o.Code }, limits, among) })
	parts.Go(func() { s.Objects = breakdown(p, positives, func(o origin) string { return o.Object }, limits, among) })
	parts.Go(func() { s.Views = p.views(r, positives, limits) })
	parts.Go(func() { s.Curve = all.curve(positives, p.mask.Regions, len(p.mask.Regions), limits[0]) })
	parts.Wait()
	if len(p.other.Regions)+len(p.lost)+len(p.gained) > 0 {
		all.move(p.lost, p.gained)
		slices.Sort(p.other.Positives)
		other := all.evaluate(indexed(r.index.edges, p.other.Positives), p.other.Regions, len(p.other.Regions), limits)
		other.Masks = p.other.Masks
		s.Other = &other
	}
	return s, nil
}

// counts returns the counts of some cameras.
func (p *Pixels) counts(r *ranks, wanted func(view int) bool) *counts {
	c := r.counts(wanted)
	c.scale = p.Scale
	return c
}

// views evaluates each camera among its own normal pixels.
func (p *Pixels) views(r *ranks, positives []uint64, limits []float64) map[int]PixelRanking {
	own := func(view int) *counts { return p.counts(r, func(v int) bool { return v == view }) }
	out := breakdown(p, positives, func(o origin) int { return o.View }, limits, own)
	for view := range r.lanes {
		if _, ok := out[view]; !ok { // no anomalous pixel
			out[view] = own(view).evaluate(nil, nil, 0, limits)
		}
	}
	return out
}

// breakdown evaluates the positives of each group of images among the negatives that among returns for it.
func breakdown[K comparable](p *Pixels, positives []uint64, group func(origin) K, limits []float64, among func(K) *counts) map[K]PixelRanking {
	number := map[K]int{}
	ofImage := make([]int, len(p.images))
	var keys []K
	for i, o := range p.images {
		k := group(o)
		if _, ok := number[k]; !ok {
			number[k] = len(keys)
			keys = append(keys, k)
		}
		ofImage[i] = number[k]
	}
	regions, pixels, images := make([]int, len(keys)), make([]int, len(keys)), make([]map[uint32]bool, len(keys))
	for _, r := range p.mask.Regions {
		g := ofImage[r.Image]
		if images[g] == nil {
			images[g] = map[uint32]bool{}
		}
		regions[g]++
		pixels[g] += int(r.Size)
		images[g][r.Image] = true
	}
	parts := make([][]uint64, len(keys))
	for g, n := range pixels {
		parts[g] = make([]uint64, 0, n)
	}
	for _, packed := range positives { // in order, so that each part is sorted
		_, region := unpack(packed)
		g := ofImage[p.mask.Regions[region].Image]
		parts[g] = append(parts[g], packed)
	}
	out := map[K]PixelRanking{}
	for g, k := range keys {
		if regions[g] > 0 {
			r := among(k).evaluate(parts[g], p.mask.Regions, regions[g], limits)
			r.Masks = len(images[g])
			out[k] = r
		}
	}
	return out
}

// move turns the scores in lost into negatives and takes those in gained out. Both must be edges.
func (c *counts) move(lost, gained []uint32) {
	change := make([]int64, len(c.keys))
	for i, keys := range [][]uint32{lost, gained} {
		slices.Sort(keys)
		edge := 0
		for _, k := range keys {
			for c.keys[edge] != k {
				edge++
			}
			change[edge] += int64(1 - 2*i)
		}
	}
	moved := int64(0)
	for i := len(change) - 1; i >= 0; i-- {
		c.above[i] += moved
		c.equal[i] += change[i]
		moved += change[i]
	}
	c.total += moved
}
