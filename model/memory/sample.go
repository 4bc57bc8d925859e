package memory

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"mvag-torch/dataset"
	"mvag-torch/internal/safetensors"
)

// MaxPatches is how many patches of a class and camera a memory is fitted to at most. From more, the same fraction of
// each image is drawn.
const MaxPatches = 20000

// Layout says where the patches of the targets are in what model.Pack makes of an image.
type Layout struct {
	Prefix, Patches, Targets, Channels int // rows before the patches, patches of a target, targets, channels
}

// rows is the number of rows of an image.
func (l Layout) rows() int { return l.Prefix + l.Patches*l.Targets }

// Samples are patches of good objects, of one class and camera each: what a memory is fitted to. They do not depend on
// the order in which objects are added.
type Samples struct {
	layout Layout
	quota  map[Camera]int      // patches of an image
	images map[Camera][]sample // what was added
	left   map[string]int      // objects of each class, or tiles of them, still to be added
}

// Camera is a camera, from 0, looking at parts of a class.
type Camera struct {
	Class string
	Index int
}

// sample is what was drawn of an image.
type sample struct {
	object string
	tile   int    // dataset.Object.Tile
	data   []byte // float16 [targets, quota, C]
}

// NewSamples prepares for the given objects, or their tiles.
func NewSamples(l Layout, objects []dataset.Object) *Samples {
	s := &Samples{layout: l, quota: map[Camera]int{}, images: map[Camera][]sample{}, left: map[string]int{}}
	count := map[Camera]int{}
	for _, o := range objects {
		s.left[o.Class]++
		for _, v := range o.Views {
			if v.Present() {
				count[Camera{o.Class, v.Camera}]++
			}
		}
	}
	for c, n := range count {
		s.quota[c] = max(1, min(l.Patches, MaxPatches/n))
	}
	return s
}

// Add draws from the packed features [V, rows, C] of an object, float16 as model.Pack lays them out; present says which
// of its images were read. It returns whether its class is complete.
func (s *Samples) Add(o *dataset.Object, present []bool, packed []byte) (complete bool, err error) {
	image := 2 * s.layout.rows() * s.layout.Channels
	if len(packed) != len(o.Views)*image {
		return false, fmt.Errorf("%s: have features of %d bytes, want %d", o.ID, len(packed), len(o.Views)*image)
	}
	for j, v := range o.Views {
		if present[j] {
			c := Camera{o.Class, v.Camera}
			s.images[c] = append(s.images[c], sample{o.ID, o.Tile, s.draw(o, v.Camera, s.quota[c], packed[j*image:][:image])})
		}
	}
	s.left[o.Class]--
	return s.left[o.Class] == 0, nil
}

// draw copies n patches of each target of an image, the same of all.
func (s *Samples) draw(o *dataset.Object, camera, n int, packed []byte) []byte {
	l, name := s.layout, fnv.New64a()
	_, _ = name.Write([]byte(o.ID)) // never fails
	patches := rand.New(rand.NewPCG(name.Sum64(), uint64(o.Tile)<<32|uint64(camera))).Perm(l.Patches)[:n]
	slices.Sort(patches)
	out := make([]byte, 0, 2*l.Targets*n*l.Channels)
	for t := range l.Targets {
		for _, p := range patches {
			out = append(out, packed[2*(l.Prefix+t*l.Patches+p)*l.Channels:][:2*l.Channels]...)
		}
	}
	return out
}

// Cameras are those of a class that have samples, in order.
func (s *Samples) Cameras(class string) (list []Camera) {
	for c := range s.images {
		if c.Class == class {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Camera) int { return cmp.Compare(a.Index, b.Index) })
	return list
}

// Objects is the number of objects that have samples of a camera.
func (s *Samples) Objects(c Camera) int {
	objects := map[string]bool{}
	for _, x := range s.images[c] {
		objects[x.object] = true
	}
	return len(objects)
}

// Of returns the samples of a target as float32 vectors of length 1, [n, C], in the order of the names of objects.
// Those of objects in without, with all their tiles, are left out.
func (s *Samples) Of(c Camera, target int, without map[string]bool) []float32 {
	images := slices.SortedFunc(slices.Values(s.images[c]), func(a, b sample) int {
		return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.tile, b.tile))
	})
	var out []float32
	for _, x := range images {
		if without[x.object] {
			continue
		}
		n := len(x.data) / s.layout.Targets
		for at := target * n; at < (target+1)*n; at += 2 * s.layout.Channels {
			out = appendUnit(out, x.data[at:][:2*s.layout.Channels])
		}
	}
	return out
}

// Forget frees the samples of a class.
func (s *Samples) Forget(class string) {
	for _, c := range s.Cameras(class) {
		delete(s.images, c)
	}
}

// appendUnit appends the float16 vector in data, divided by its norm, which counts as at least 1e-8.
func appendUnit(out []float32, data []byte) []float32 {
	from, square := len(out), 0.0
	for i := 0; i < len(data); i += 2 {
		v := safetensors.Float16ToFloat32(binary.LittleEndian.Uint16(data[i:]))
		out, square = append(out, v), square+float64(v)*float64(v)
	}
	scale := float32(1 / max(1e-8, math.Sqrt(square)))
	for i := range out[from:] {
		out[from+i] *= scale
	}
	return out
}
