package memory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/checkpoint"
)

// host is an Algebra in float64.
type host struct{}

func (host) Moments(x []float32, c int) (mean, covariance []float32, err error) {
	n, m, cov := len(x)/c, make([]float64, c), make([]float32, c*c)
	for i, v := range x {
		m[i%c] += float64(v) / float64(n)
	}
	for a := range c {
		for b := range c {
			sum := 0.
			for i := range n {
				sum += (float64(x[i*c+a]) - m[a]) * (float64(x[i*c+b]) - m[b])
			}
			cov[a*c+b] = float32(sum)
		}
	}
	mean = make([]float32, c)
	for i, v := range m {
		mean[i] = float32(v)
	}
	return mean, cov, nil
}

func (host) Project(x, basis []float32, c int) (out []float32, err error) {
	for i := 0; i < len(x); i += c {
		for d := c; d < len(basis); d += c {
			sum := 0.
			for k := range c {
				sum += float64(x[i+k]-basis[k]) * float64(basis[d+k])
			}
			out = append(out, float32(sum))
		}
	}
	return out, nil
}

var small = Layout{Prefix: 2, Patches: 9, Targets: 2, Channels: 6}

// packed are random features of images.
func packed(rng *rand.Rand, views int) (data []byte) {
	for range views * small.rows() * small.Channels {
		data = binary.LittleEndian.AppendUint16(data, safetensors.Float32ToFloat16(float32(rng.NormFloat64())))
	}
	return data
}

// parts are objects of two cameras; part 3 has no second image.
func parts(class string, n int) (objects []dataset.Object) {
	for i := range n {
		o := dataset.Object{Class: class, ID: fmt.Sprint(class, "/", i), Views: []dataset.View{{Path: "a"}, {Camera: 1, Path: "b"}}}
		if i == 3 {
			o.Views[1].Path = ""
		}
		objects = append(objects, o)
	}
	return objects
}

// fitted fits a class to objects in an order, without some of them.
func fitted(t *testing.T, order []int, without map[string]bool) *Class {
	t.Helper()
	objects := parts("nut", 5)
	s := NewSamples(small, objects)
	for k, i := range order {
		complete, err := s.Add(&objects[i], []bool{true, i != 3}, packed(rand.New(rand.NewPCG(7, uint64(i))), 2))
		if err != nil || complete != (k == 4) {
			t.Fatalf("object %d: have complete %v, error %v", i, complete, err)
		}
	}
	c, err := Fit(host{}, s, "nut", Size{Dims: 3, Codes: 8}, without)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFitDoesNotDependOnOrder(t *testing.T) {
	want := fitted(t, []int{0, 1, 2, 3, 4}, nil)
	if have := fitted(t, []int{4, 2, 3, 0, 1}, nil); !reflect.DeepEqual(have, want) {
		t.Error("another order of objects gives another memory")
	}
	if want.Objects != 5 || len(want.Cameras) != 2 || want.Cameras[1].Codes != 8 || want.Cameras[1].Dims != 3 {
		t.Errorf("have %+v", want)
	}
	fold := fitted(t, []int{0, 1, 2, 3, 4}, map[string]bool{"nut/1": true})
	if fold.Objects != 4 || bytes.Equal(fold.Cameras[0].Basis, want.Cameras[0].Basis) {
		t.Errorf("without an object: have %d objects, want 4 and another basis", fold.Objects)
	}
}

// TestTilesOfObjects: tiles are samples of their object, of other patches each, whatever their order.
func TestTilesOfObjects(t *testing.T) {
	objects := dataset.Tiled(parts("nut", 3), dataset.Fit{Mode: dataset.Tiles, Resize: configs.Size{4, 8}, Crop: configs.Square(4)})
	if len(objects) != 6 {
		t.Fatalf("have %d tiles, want 6", len(objects))
	}
	add := func(order ...int) *Samples {
		s := NewSamples(small, objects)
		s.quota[Camera{"nut", 0}] = 4
		for k, i := range order {
			complete, err := s.Add(&objects[i], []bool{true, true}, packed(rand.New(rand.NewPCG(7, 7)), 2))
			if err != nil || complete != (k == 5) {
				t.Fatalf("tile %d: have complete %v, error %v", i, complete, err)
			}
		}
		return s
	}
	s, camera := add(0, 1, 2, 3, 4, 5), Camera{"nut", 0}
	all := s.Of(camera, 0, nil)
	if n := 4 * small.Channels; len(all) != 6*n || slices.Equal(all[:n], all[n:2*n]) {
		t.Errorf("have %d values, and those of the first two tiles are the same", len(all))
	}
	if !slices.Equal(add(5, 4, 1, 0, 3, 2).Of(camera, 0, nil), all) {
		t.Error("another order gives other samples")
	}
	if have := s.Of(camera, 0, map[string]bool{"nut/1": true}); len(have) != len(all)*2/3 {
		t.Errorf("without an object: have %d values of %d", len(have), len(all))
	}
	if n := s.Objects(camera); n != 3 {
		t.Errorf("have %d objects, want 3", n)
	}
}

// TestSubspaceAndCodes holds that the basis is orthonormal and that each code is a sample in that basis.
func TestSubspaceAndCodes(t *testing.T) {
	m := fitted(t, []int{0, 1, 2, 3, 4}, nil).Cameras[0]
	basis := values(m.Basis)[:(1+m.Dims)*m.Channels] // of the first target
	for a := range m.Dims {
		for b := range m.Dims {
			dot, want := 0., 0.
			for k := range m.Channels {
				dot += float64(basis[(1+a)*m.Channels+k]) * float64(basis[(1+b)*m.Channels+k])
			}
			if a == b {
				want = 1
			}
			if math.Abs(dot-want) > 2e-3 {
				t.Errorf("vectors %d and %d: have %v, want %v", a, b, dot, want)
			}
		}
	}
	objects := parts("nut", 5)
	s := NewSamples(small, objects)
	for i := range objects {
		if _, err := s.Add(&objects[i], []bool{true, i != 3}, packed(rand.New(rand.NewPCG(7, uint64(i))), 2)); err != nil {
			t.Fatal(err)
		}
	}
	x := s.Of(Camera{"nut", 0}, 0, nil)
	if len(x) != 5*small.Patches*small.Channels {
		t.Fatalf("have %d values, want all patches of 5 images", len(x))
	}
	points, _ := host{}.Project(x, basis, m.Channels)
	codes := values(m.Coordinates)
	for k := range m.Codes {
		nearest := infinity
		for i := 0; i < len(points); i += m.Dims {
			nearest = min(nearest, squared(points[i:][:m.Dims], codes[k*m.Dims:][:m.Dims]))
		}
		if nearest > 1e-6 {
			t.Errorf("code %d: have no sample nearer than %v", k, nearest)
		}
	}
}

func values(data []byte) []float32 {
	out, _ := safetensors.AppendFloat32(nil, safetensors.F16, data)
	return out
}

// TestCoreset compares with the definition: each further point is the one farthest from those before.
func TestCoreset(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n, dims, k = 60, 5, 12
	points := make([]float32, n*dims)
	for i := range points {
		points[i] = float32(rng.NormFloat64())
	}
	have := Coreset(points, dims, k)
	distance := func(p int, chosen []float32) float64 {
		best := math.Inf(1)
		for i := 0; i < len(chosen); i += dims {
			sum := 0.
			for j := range dims {
				d := float64(points[p*dims+j]) - float64(chosen[i+j])
				sum += d * d
			}
			best = min(best, sum)
		}
		return best
	}
	for i := 1; i < k; i++ {
		far, at := -1., 0
		for p := range n {
			if d := distance(p, have[:i*dims]); d > far {
				far, at = d, p
			}
		}
		if !slices.Equal(have[i*dims:][:dims], points[at*dims:][:dims]) {
			t.Fatalf("point %d: have %v, want %v, the farthest", i, have[i*dims:][:dims], points[at*dims:][:dims])
		}
	}
	same := Coreset(slices.Repeat([]float32{1, 2}, 7), 2, 3)
	if !slices.Equal(same, []float32{1, 2, 1, 2, 1, 2}) {
		t.Errorf("equal points: have %v", same)
	}
}

// TestManyPatches draws the same fraction of each image where there are too many.
func TestManyPatches(t *testing.T) {
	l := Layout{Patches: 4, Targets: 1, Channels: 2}
	objects := parts("nut", MaxPatches/2)
	s := NewSamples(l, objects)
	if have := s.quota[Camera{"nut", 0}]; have != 2 {
		t.Fatalf("have %d patches of an image, want 2", have)
	}
	image := make([]byte, 2*l.rows()*l.Channels)
	if _, err := s.Add(&objects[0], []bool{true, true}, slices.Concat(image, image)); err != nil {
		t.Fatal(err)
	}
	if have := len(s.Of(Camera{"nut", 0}, 0, nil)); have != 2*l.Channels {
		t.Errorf("have %d values, want those of 2 patches", have)
	}
	if _, err := s.Add(&objects[1], []bool{true, true}, image); err == nil || !strings.Contains(err.Error(), "nut/1: have features of 16 bytes, want 32") {
		t.Errorf("features of one image: have %v", err)
	}
}

func TestStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	write := func(m *Memory, change func(list []safetensors.Tensor, text string) ([]safetensors.Tensor, string)) (*Memory, error) {
		t.Helper()
		text, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		list, text := change(m.Tensors(), text)
		if err := checkpoint.Write(path, checkpoint.Info{Config: configs.Default(), Memory: text}, list); err != nil {
			t.Fatal(err)
		}
		f, err := checkpoint.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if trained, err := f.Weights(); err != nil || len(trained) > 0 {
			t.Errorf("have %d weights, error %v, want a memory to be none", len(trained), err)
		}
		return Read(f)
	}
	same := func(list []safetensors.Tensor, text string) ([]safetensors.Tensor, string) { return list, text }
	nut := fitted(t, []int{0, 1, 2, 3, 4}, nil)
	enrolled := *nut
	enrolled.Alone = true
	want := &Memory{Classes: map[string]*Class{"nut": nut, "a.C1.b": &enrolled, ".C": nut}}
	have, err := write(want, same)
	if err != nil || !reflect.DeepEqual(have, want) {
		t.Errorf("have %+v, error %v, want what was written", have, err)
	}
	if none, err := write(nil, same); err != nil || none != nil {
		t.Errorf("without a memory: have %+v, error %v", none, err)
	}
	if have.Untrained() || !have.Alone("a.C1.b") || have.Alone("nut") || have.Of("") != nil || have.Of("bolt") != nil {
		t.Error("have other classes than were written")
	}
	if err := have.Check(2, 6); err != nil {
		t.Error(err)
	}
	if err := have.Check(2, 8); err == nil || !strings.Contains(err.Error(), "have 2 targets of 6 channels, want 2 of 8 as the backbone gives") {
		t.Errorf("another backbone: have %v", err)
	}
	one := &Memory{Only: true, Classes: map[string]*Class{"nut": nut}}
	for name, c := range map[string]struct {
		change func(list []safetensors.Tensor, text string) ([]safetensors.Tensor, string)
		want   string
	}{
		"no tensors": {func(_ []safetensors.Tensor, text string) ([]safetensors.Tensor, string) { return nil, text }, `have no tensors of class "nut"`},
		"no codes":   {func(l []safetensors.Tensor, text string) ([]safetensors.Tensor, string) { return l[:1], text }, "have basis F16"},
		"another class": {func(l []safetensors.Tensor, _ string) ([]safetensors.Tensor, string) {
			return l, `{"classes":{"bolt":{}}}`
		}, "have no such class and camera"},
		"metadata cut short": {func(l []safetensors.Tensor, text string) ([]safetensors.Tensor, string) { return l, text[:9] }, "memory: invalid character"},
		"not finite": {func(l []safetensors.Tensor, text string) ([]safetensors.Tensor, string) {
			l[0] = safetensors.Raw(l[0].Name, safetensors.F16, l[0].Shape, bytes.Repeat([]byte{0, 0x7c}, len(nut.Cameras[0].Basis)/2))
			return l, text
		}, "values that are not finite"},
		"another type": {func(l []safetensors.Tensor, text string) ([]safetensors.Tensor, string) {
			l[0] = safetensors.Float32(l[0].Name, l[0].Shape, make([]float32, len(nut.Cameras[0].Basis)/2))
			return l, text
		}, "have basis F32"},
	} {
		if _, err := write(one, c.change); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: have %v, want %q", name, err, c.want)
		}
	}
}

// TestSubspaceOfLargestVariance has features whose variance is known: along the axes, in a rotated basis.
func TestSubspaceOfLargestVariance(t *testing.T) {
	const c, dims = 40, 6
	rng := rand.New(rand.NewPCG(3, 4))
	axes := mat.NewDense(c, c, nil)
	orthonormal(axes, rng) // zeros: all rows are drawn
	covariance := make([]float32, c*c)
	for k := range c {
		variance, axis := math.Pow(0.7, float64(k)), axes.RawRowView(k)
		for i := range c {
			for j := range c {
				covariance[i*c+j] += float32(variance * axis[i] * axis[j])
			}
		}
	}
	basis := subspace(make([]float32, c), covariance, dims)
	for k := range dims {
		inside := 0.
		for d := range dims {
			dot := 0.
			for i, v := range axes.RawRowView(k) {
				dot += v * float64(basis[(1+d)*c+i])
			}
			inside += dot * dot
		}
		if inside < 0.999 {
			t.Errorf("axis %d: have %v of it in the subspace, want all", k, inside)
		}
	}
	equal := subspace(make([]float32, c), make([]float32, c*c), dims) // of equal patches
	for d := range dims {
		square := 0.
		for _, v := range equal[(1+d)*c:][:c] {
			square += float64(v) * float64(v)
		}
		if math.Abs(square-1) > 2e-3 {
			t.Errorf("equal patches: direction %d has length %v, want 1", d, math.Sqrt(square))
		}
	}
}
