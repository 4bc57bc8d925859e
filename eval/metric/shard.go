package metric

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"slices"
)

// shardFormat is the first thing in a shard's file.
const shardFormat = "mvag-torch pixels 1"

// shard is a Pixels as it is written, followed by Chunks values of
// shardChunk.
type shard struct {
	Format       string
	Pictures     []origin
	Mask, Other  labels
	Lost, Gained []uint32
	All, Marked  span
	Sealed, Fork bool
	Spread       int
	Edges        []uint32
	Chunks       int
}

// shardChunk is a chunk of normal pixels or, once sealed, a lane.
type shardChunk struct {
	View  int
	Keys  []uint32
	Total int64
	Bins  []int64
}

// Encode writes p, to be read by Decode on another machine and merged there.
func (p *Pixels) Encode(w io.Writer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := shard{
		Format: shardFormat, Pictures: p.pictures, Lost: p.lost, Gained: p.gained, All: p.all, Marked: p.marked, Fork: p.fork,
		Mask: p.mask, Other: p.other, Chunks: len(p.kept),
	}
	if p.sealed != nil {
		s.Sealed, s.Edges, s.Spread = true, p.sealed.index.edges, p.sealed.spread
		for _, lanes := range p.sealed.lanes {
			s.Chunks += len(lanes)
		}
	}
	out := gob.NewEncoder(w)
	err := out.Encode(s)
	for i := 0; i < len(p.kept) && err == nil; i++ {
		err = out.Encode(shardChunk{View: p.kept[i].view, Keys: p.kept[i].keys})
	}
	if p.sealed != nil && err == nil {
		err = p.sealed.encode(out)
	}
	if err != nil {
		return fmt.Errorf("pixels: %w", err)
	}
	return nil
}

func (r *ranks) encode(out *gob.Encoder) error {
	for view, lanes := range r.lanes {
		for _, l := range lanes {
			r.flush(l)
			c := shardChunk{View: view, Total: l.total, Bins: make([]int64, len(l.bins.low))}
			for i, n := range l.bins.all() {
				c.Bins[i] += n
			}
			if err := out.Encode(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// Decode reads what Encode wrote, from a source that is trusted not to exhaust
// memory; what is read is checked, so that it may be used without harm.
func Decode(r io.Reader) (*Pixels, error) {
	p, err := decode(gob.NewDecoder(r))
	if err != nil {
		return nil, fmt.Errorf("pixels: %w", err)
	}
	return p, nil
}

func decode(in *gob.Decoder) (*Pixels, error) {
	var s shard
	if err := in.Decode(&s); err != nil {
		return nil, err
	}
	if s.Format != shardFormat {
		return nil, fmt.Errorf("format: have %.40q, want %q", s.Format, shardFormat)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	p := &Pixels{
		pictures: s.Pictures, mask: s.Mask, other: s.Other, lost: s.Lost, gained: s.Gained,
		all: s.All, marked: s.Marked, fork: s.Fork,
	}
	if s.Sealed {
		p.sealed = newRanks(s.Edges, max(1, s.Spread))
	}
	for range s.Chunks {
		var c shardChunk
		if err := in.Decode(&c); err != nil {
			return nil, err
		}
		if !s.Sealed {
			p.kept = append(p.kept, chunk{c.View, c.Keys})
		} else if err := p.sealed.decode(c); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// decode enters a lane.
func (r *ranks) decode(c shardChunk) error {
	l := &lane{total: c.Total, bins: newBins(2*len(r.index.edges) + 1)}
	if len(c.Bins) != len(l.bins.low) {
		return fmt.Errorf("view %d: have %d bins, want %d", c.View, len(c.Bins), len(l.bins.low))
	}
	for i, n := range c.Bins {
		if n < 0 {
			return fmt.Errorf("view %d: have a negative count", c.View)
		}
		l.bins.add(i, n)
	}
	r.lanes[c.View] = append(r.lanes[c.View], l)
	return nil
}

var errEdges = errors.New("have an anomalous pixel that is no edge")

// check finds what would lead out of a slice.
func (s *shard) check() error {
	edges := s.Edges
	if !s.Sealed {
		edges = slices.Concat(distinct(slices.Clone(s.Mask.Positives)), s.Gained)
		slices.Sort(edges)
	} else {
		for i := 1; i < len(edges); i++ {
			if edges[i-1] >= edges[i] {
				return fmt.Errorf("edges: have %d after %d, want them ascending", edges[i], edges[i-1])
			}
		}
	}
	isEdge := func(k uint32) bool { _, ok := slices.BinarySearch(edges, k); return ok }
	for _, l := range []labels{s.Mask, s.Other} {
		for _, p := range l.Positives {
			k, number := unpack(p)
			if !isEdge(k) {
				return errEdges
			}
			if int(number) >= len(l.Regions) {
				return fmt.Errorf("have a pixel of region %d, want less than %d", number, len(l.Regions))
			}
		}
		for _, r := range l.Regions {
			if int(r.Picture) >= len(s.Pictures) || r.Size == 0 {
				return fmt.Errorf("region: have %+v of %d pictures", r, len(s.Pictures))
			}
		}
	}
	for _, k := range slices.Concat(s.Lost, s.Gained) {
		if !isEdge(k) {
			return errEdges
		}
	}
	return nil
}
