package memory

import (
	"errors"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/mat"
)

// Algebra is the large part of a fit, which a device computes. All matrices are row-major.
type Algebra interface {
	// Moments returns the mean [C] of the vectors x [n, C] and their covariance [C, C], times n.
	Moments(x []float32, channels int) (mean, covariance []float32, err error)
	// Project returns the coordinates [n, dims] of x [n, C] in a basis [1 + dims, C] of a mean and vectors about it.
	Project(x, basis []float32, channels int) ([]float32, error)
}

// Size is the size of a memory for each class, camera and target.
type Size struct{ Dims, Codes int }

// Fit fits the memory of a class to its samples, without those of some objects. The result depends on the samples
// alone.
func Fit(a Algebra, s *Samples, class string, size Size, without map[string]bool) (*Class, error) {
	c := &Class{Cameras: map[int]Map{}}
	for _, camera := range s.Cameras(class) {
		m, err := fitCamera(a, s, camera, size, without)
		if err != nil {
			return nil, err
		}
		if m.Targets > 0 {
			c.Cameras[camera.Index] = m
		}
		c.Objects = max(c.Objects, s.Objects(camera)-len(without))
	}
	if len(c.Cameras) == 0 {
		return nil, errors.New("memory: class " + class + ": have no image that was read, want at least one")
	}
	return c, nil
}

// target is a target of a camera while it is fitted.
type target struct {
	x, basis, points []float32
	mean, covariance []float32
	codes            []float32
}

// fitCamera alternates between the device, which has one thread, and goroutines.
func fitCamera(a Algebra, s *Samples, camera Camera, size Size, without map[string]bool) (Map, error) {
	l := s.layout
	m := Map{Channels: l.Channels}
	targets := make([]target, l.Targets)
	for i := range targets {
		t := &targets[i]
		if t.x = s.Of(camera, i, without); len(t.x) == 0 {
			return Map{}, nil
		}
		var err error
		if t.mean, t.covariance, err = a.Moments(t.x, l.Channels); err != nil {
			return m, err
		}
	}
	m.Targets, m.Dims, m.Codes = l.Targets, min(size.Dims, l.Channels), min(size.Codes, len(targets[0].x)/l.Channels)
	parallel(targets, func(t *target) { t.basis = subspace(t.mean, t.covariance, m.Dims) })
	for i := range targets {
		t := &targets[i]
		var err error
		if t.points, err = a.Project(t.x, t.basis, l.Channels); err != nil {
			return m, err
		}
	}
	parallel(targets, func(t *target) { t.codes = Coreset(t.points, m.Dims, m.Codes) })
	for _, t := range targets {
		m.Basis, m.Coordinates = halves(m.Basis, t.basis), halves(m.Coordinates, t.codes)
	}
	return m, nil
}

func parallel(targets []target, work func(*target)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range targets {
		wg.Go(func() {
			slots <- struct{}{}
			work(&targets[i])
			<-slots
		})
	}
	wg.Wait()
}

// subspace returns the mean and the dims directions of largest variance, [1 + dims, C], rounded to float16.
func subspace(mean, covariance []float32, dims int) []float32 {
	c := len(mean)
	sym := mat.NewSymDense(c, nil)
	for i := range c {
		for j := i; j < c; j++ {
			sym.SetSym(i, j, float64(covariance[i*c+j]))
		}
	}
	out := make([]float64, 0, (1+dims)*c)
	for _, v := range mean {
		out = append(out, float64(v))
	}
	var eigen mat.EigenSym
	var vectors mat.Dense
	if eigen.Factorize(sym, true) { // ascending
		eigen.VectorsTo(&vectors)
	} else { // only values that are not finite, which the samples cannot have
		vectors.CloneFrom(mat.NewDiagDense(c, nil))
	}
	for k := range dims {
		out = append(out, mat.Col(nil, c-1-k, &vectors)...)
	}
	half(out)
	single := make([]float32, len(out))
	for i, v := range out {
		single[i] = float32(v)
	}
	return single
}

// Coreset returns k of the points [n, dims], chosen so that the largest distance of a point to the nearest of them is
// small: first the one nearest to the origin, then always the one farthest from those chosen (Gonzalez, 1985: at most
// twice the smallest possible). Of equal ones, the first is taken.
func Coreset(points []float32, dims, k int) []float32 {
	n := len(points) / dims
	distance := make([]float32, n) // squared, to the nearest chosen
	next, least := 0, infinity
	origin := make([]float32, dims)
	for i := range n {
		distance[i] = infinity
		if d := squared(points[i*dims:][:dims], origin); d < least {
			next, least = i, d
		}
	}
	chosen := make([]float32, 0, k*dims)
	for range k {
		code := points[next*dims:][:dims]
		chosen = append(chosen, code...)
		farthest := float32(-1)
		for i := range n {
			distance[i] = min(distance[i], squared(points[i*dims:][:dims], code))
			if distance[i] > farthest {
				next, farthest = i, distance[i]
			}
		}
	}
	return chosen
}

// squared is the squared distance of two vectors.
func squared(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		d0, d1, d2, d3 := a[i]-b[i], a[i+1]-b[i+1], a[i+2]-b[i+2], a[i+3]-b[i+3]
		s0, s1, s2, s3 = s0+d0*d0, s1+d1*d1, s2+d2*d2, s3+d3*d3
	}
	for ; i < len(a); i++ {
		d := a[i] - b[i]
		s0 += d * d
	}
	return s0 + s1 + s2 + s3
}
