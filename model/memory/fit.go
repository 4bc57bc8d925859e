package memory

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"mvag-torch/internal/safetensors"
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

// rounds is the number of steps of the subspace iteration. In each, a direction outside the subspace loses the ratio of
// its variance to those within.
const rounds = 12

// subspace returns the mean and dims orthonormal directions of largest variance, [1 + dims, C], rounded to float16. It
// finds them by subspace iteration with some directions more than are wanted, which is exact enough for a subspace and
// far less work than all eigenvectors.
func subspace(mean, covariance []float32, dims int) []float32 {
	c := len(mean)
	width := min(c, dims+dims/4+8)
	cov := mat.NewDense(c, c, nil)
	for i, v := range covariance {
		cov.Set(i/c, i%c, float64(v))
	}
	rng := rand.New(rand.NewPCG(0, 0))
	q := mat.NewDense(width, c, nil) // a direction a row
	orthonormal(q, rng)
	var y mat.Dense
	for range rounds {
		y.Mul(q, cov)
		q.Copy(&y)
		orthonormal(q, rng)
	}
	var small, vectors mat.Dense // the largest directions within q
	y.Mul(q, cov)
	small.Mul(&y, q.T())
	sym := mat.NewSymDense(width, nil)
	for i := range width {
		for j := i; j < width; j++ {
			sym.SetSym(i, j, small.At(i, j))
		}
	}
	var eigen mat.EigenSym
	if eigen.Factorize(sym, true) { // ascending; false only with values that are not finite, which samples do not have
		eigen.VectorsTo(&vectors)
		y.Mul(vectors.T(), q)
		q.Copy(&y)
	}
	out := append(make([]float32, 0, (1+dims)*c), mean...)
	for k := range dims {
		for _, v := range q.RawRowView(width - 1 - k) {
			out = append(out, float32(v))
		}
	}
	for i, v := range out {
		out[i] = safetensors.Float16ToFloat32(safetensors.Float32ToFloat16(v))
	}
	return out
}

// orthonormal makes the rows of q so (Gram-Schmidt, twice for each). A row that the ones before it span is drawn anew.
func orthonormal(q *mat.Dense, rng *rand.Rand) {
	n, _ := q.Dims()
	for i := range n {
		row := q.RawRowView(i)
		for range 3 {
			before := floats.Norm(row, 2)
			for range 2 {
				for j := range i {
					floats.AddScaled(row, -floats.Dot(row, q.RawRowView(j)), q.RawRowView(j))
				}
			}
			if left := floats.Norm(row, 2); left > 1e-10*before {
				floats.Scale(1/left, row)
				break
			}
			for k := range row {
				row[k] = rng.NormFloat64()
			}
		}
	}
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
