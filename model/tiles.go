package model

import (
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
)

// distances are those of the patches of a batch, a tensor a target.
type distances struct {
	reconstructed []*tensor.Tensor // to the reconstruction [B, T, P]; of absent images without meaning
	remembered    []*tensor.Tensor // to the memory [len(rows), T, P]
	rows          []int            // the images whose class is remembered
}

// distances runs the model on a batch, part by part.
func (p *Predictor) distances(s *tensor.Scope, batch *dataset.Batch) distances {
	v, t, groups := int64(batch.Views), int64(batch.Tiles), int64(len(p.model.Fuse))
	objects, patches := int64(len(batch.Objects)), p.model.Encoder.Rows*p.model.Encoder.Columns
	all := tensor.Zeros(s, p.model.Device, tensor.Float, objects*t*v, groups, patches)
	near := nearest{at: map[int]int64{}}
	for from := 0; from < int(objects*t); {
		b := p.tiles(batch, from)
		s.Local(func(inner *tensor.Scope) *tensor.Tensor {
			d, targets := p.forward(inner, b)
			all.Slice(inner, 0, int64(from)*v, d.Dim(0)).CopyFrom(d)
			near.add(s, p.memory, targets, b, from*batch.Views)
			return nil
		})
		from += len(b.Objects)
	}
	all = all.Reshape(s, objects, t, v, groups, patches).Permute(s, 3, 0, 2, 1, 4) // [groups, S, V, T, P]
	out := near.sorted(s, batch)
	for g := range groups {
		out.reconstructed = append(out.reconstructed, all.Select(s, 0, g).Reshape(s, objects*v, t, patches))
	}
	return out
}

// tiles returns the next tiles of a batch [S, T, V], from number s·T + t on, as a batch in which a tile of all views is
// an object. It is valid until the next call. Where views have one tile, it is the batch itself.
func (p *Predictor) tiles(batch *dataset.Batch, from int) *dataset.Batch {
	if batch.Tiles == 1 {
		return batch
	}
	size := len(batch.Pixels) / (len(batch.Present) * batch.Tiles)
	part := &dataset.Batch{Views: batch.Views, Tiles: 1, Pixels: p.pixels[:0]}
	for i := from; i < min(from+max(1, p.images/batch.Views), len(batch.Objects)*batch.Tiles); i++ {
		object, tile := i/batch.Tiles, i%batch.Tiles
		part.Objects = append(part.Objects, batch.Objects[object])
		for row := object * batch.Views; row < (object+1)*batch.Views; row++ {
			part.Present = append(part.Present, batch.Present[row])
			part.Pixels = append(part.Pixels, batch.Pixels[(row*batch.Tiles+tile)*size:][:size]...)
		}
	}
	p.pixels = part.Pixels
	return part
}

// nearest collects the distances to a memory of the tiles of a batch.
type nearest struct {
	found [][]*tensor.Tensor // of each target, [n, P] of one call of add after the other
	count int64              // of rows so far
	at    map[int]int64      // which of these rows an image of the tiles [S, T, V] has
}

// add compares the targets of further tiles, whose first image has number first in [S, T, V].
func (n *nearest) add(s *tensor.Scope, m *Memory, targets []*tensor.Tensor, tiles *dataset.Batch, first int) {
	rows, distances := m.Distances(s, targets, tiles)
	for i, row := range rows {
		n.at[first+int(row)] = n.count + int64(i)
	}
	n.count += int64(len(rows))
	if n.found == nil {
		n.found = make([][]*tensor.Tensor, len(targets))
	}
	for t, d := range distances {
		n.found[t] = append(n.found[t], d)
	}
}

// sorted puts them in the order of the images of the batch that the tiles are of.
func (n *nearest) sorted(s *tensor.Scope, batch *dataset.Batch) (out distances) {
	var order []int64
	for row := range batch.Present {
		object, view := row/batch.Views, row%batch.Views
		for t := range batch.Tiles {
			at, ok := n.at[(object*batch.Tiles+t)*batch.Views+view]
			if !ok { // of no tile
				break
			}
			if t == 0 {
				out.rows = append(out.rows, row)
			}
			order = append(order, at)
		}
	}
	if len(order) == 0 {
		return out
	}
	for _, parts := range n.found {
		all := tensor.Cat(s, 0, parts...) // [n, P]
		all = all.IndexSelect(s, 0, tensor.FromInts(s, all.Device(), order, int64(len(order))))
		out.remembered = append(out.remembered, all.Reshape(s, int64(len(out.rows)), int64(batch.Tiles), all.Dim(1)))
	}
	return out
}
