package calibration

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// maxFreedom keeps the tail of Student's t heavy, so that the calibrated values of scores far out approach 1 slowly
	// and remain apart from each other.
	maxFreedom = 30
	// minSpread keeps a further score at a finite distance when all scores are equal.
	minSpread = 0.01
	// Smallest is what lower scores count as: rounding makes some cosine distances of 0 negative.
	Smallest = 1e-6
)

func logarithm(score float64) float64 { return math.Log(max(score, Smallest)) }

// unit is one object: values that count as one.
type unit struct {
	class  string
	values []float64 // logarithms of scores
}

func newUnit(class string, scores ...float64) unit {
	u := unit{class, make([]float64, len(scores))}
	for i, v := range scores {
		u.values[i] = logarithm(v)
	}
	return u
}

// moments of units, each of weight 1 whatever the number of its values.
type moments struct {
	n      int
	center float64
	square float64 // sum of squared distances from the center
}

// momentsOf leaves out the unit at index skip; -1 means none.
func momentsOf(units []unit, skip int) moments {
	var m moments
	for i, u := range units {
		if i != skip {
			m.n++
			m.center += mean(u.values, func(v float64) float64 { return v })
		}
	}
	m.center /= float64(m.n)
	for i, u := range units {
		if i != skip {
			m.square += mean(u.values, func(v float64) float64 { return (v - m.center) * (v - m.center) })
		}
	}
	return m
}

func mean(values []float64, f func(float64) float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += f(v)
	}
	return sum / float64(len(values))
}

// widen is the factor by which a further score scatters more about the mean of n scores than about the true center.
func widen(n int) float64 { return math.Sqrt(1 + 1/float64(n)) }

// fit calibrates one level.
func fit(units []unit, alpha float64) Level {
	all := momentsOf(units, -1)
	level := Level{Pooled: newScale(quantile(units, alpha), ByPooled), Classes: map[string]Scale{}}
	level.Pooled.spread(all.center, all.square, all.n-1, all.n)

	classes := map[string][]unit{}
	for _, u := range units {
		if u.class != "" {
			classes[u.class] = append(classes[u.class], u)
		}
	}
	maps.DeleteFunc(classes, func(_ string, of []unit) bool { return len(of) < 2 })
	// The distance of each value from the center of the other objects of its class, on the same scale as the distance
	// of a further object from the center of the whole class.
	var distances []unit
	square, freedom := 0.0, 0
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		of := classes[class]
		m := momentsOf(of, -1)
		square, freedom = square+m.square, freedom+m.n-1
		for i, u := range of {
			others := momentsOf(of, i)
			d := unit{values: make([]float64, len(u.values))}
			for j, v := range u.values {
				d.values[j] = (v - others.center) / widen(others.n)
			}
			distances = append(distances, d)
		}
	}
	shift := quantile(distances, alpha)
	for class, of := range classes {
		m, own := momentsOf(of, -1), quantile(of, alpha)
		scale := newScale(own, ByClass)
		if own.rate > alpha*(1+1e-9) && len(of) < len(units) {
			common := shift
			common.value = m.center + shift.value*widen(m.n)
			scale = newScale(common, ByShift)
		}
		scale.spread(m.center, square, freedom, m.n)
		level.Classes[class] = scale
	}
	return level
}

// limit is a threshold and what it guarantees.
type limit struct {
	value float64
	n     int     // units
	rate  float64 // bound on the expected fraction of a further unit above value
}

// quantile returns the smallest value v of the units with
//
//	(sum over units of the fraction above v + 1) / (n+1) <= alpha,
//
// or the largest value if there is none. With one value a unit that is the k-th smallest, k = ceil((n+1)(1-alpha)).
func quantile(units []unit, alpha float64) limit {
	type value struct{ v, weight float64 }
	var values []value
	for _, u := range units {
		for _, v := range u.values {
			values = append(values, value{v, 1 / float64(len(u.values))})
		}
	}
	slices.SortFunc(values, func(a, b value) int { return cmp.Or(cmp.Compare(b.v, a.v), cmp.Compare(a.weight, b.weight)) })
	n := len(units)
	best := limit{n: n, rate: 1 / float64(n+1)}
	if len(values) == 0 {
		return best
	}
	best.value = values[0].v
	above := 0.0
	for i, x := range values {
		if i > 0 && x.v < values[i-1].v {
			rate := (above + 1) / float64(n+1)
			if rate > alpha*(1+1e-9) {
				break
			}
			best.value, best.rate = x.v, rate
		}
		above += x.weight
	}
	return best
}

// newScale makes a scale from a threshold on logarithms. The rate that a threshold from n objects really has varies
// with the sample as Beta((n+1)r, (n+1)(1-r)), where r is its bound (Vovk, "Conditional validity of inductive conformal
// predictors", 2012). This is exact for objects without ties. For images, whose number is taken to be that of the
// objects, the interval is too wide rather than too narrow.
func newScale(at limit, basis string) Scale {
	n := float64(at.n + 1)
	rate := distuv.Beta{Alpha: n * at.rate, Beta: n * (1 - at.rate)}
	return Scale{
		Threshold: math.Exp(at.value) * (1 + 1e-12), // so that no rounding puts the object itself above
		Basis:     basis, Objects: at.n, Rate: at.rate,
		Interval: [2]float64{rate.Quantile(0.025), rate.Quantile(0.975)},
	}
}

// Alarms returns the 95 % interval of the number of false alarms among m further good objects. On top of the unknown
// rate, which Interval describes, it has the randomness of the m themselves: the number is beta-binomial with the
// parameters of newScale (Angelopoulos and Bates, "A Gentle Introduction to Conformal Prediction", 2021, appendix C).
func (s Scale) Alarms(m int) (low, high int) {
	n := float64(s.Objects + 1)
	a, b := n*s.Rate, n*(1-s.Rate)
	chance := func(k int) float64 {
		x, y := float64(k), float64(m-k)
		return math.Exp(mathext.Lbeta(x+a, y+b) - mathext.Lbeta(a, b) - mathext.Lbeta(x+1, y+1) - math.Log(float64(m+1)))
	}
	sum := chance(0)
	for low = 0; sum <= 0.025 && low < m; low++ {
		sum += chance(low + 1)
	}
	for high = low; sum < 0.975 && high < m; high++ {
		sum += chance(high + 1)
	}
	return low, high
}

// spread sets the distribution of a further good score about the center of n scores. square is a sum of squares with
// that many degrees of freedom.
func (s *Scale) spread(center, square float64, freedom, n int) {
	s.Center = center
	s.Spread = max(minSpread, math.Sqrt(square/float64(freedom))*widen(n))
	s.Freedom = float64(min(freedom, maxFreedom))
}

// Value maps a score to [0, 1]. Let p be the chance of a higher good score, with the logarithm distributed as Student's
// t, and p0 the chance of a good score above the threshold. The odds of the value are the odds of p0 over those of p.
// So the value rises with the score from 0 to 1 (to within rounding), is 0.5 at the threshold and p0 at the median of
// good scores, and equal values are equally rare among the good objects of their class. NaN gives NaN.
func (s Scale) Value(score float64) float64 {
	if math.IsNaN(score) {
		return score
	}
	good := distuv.StudentsT{Mu: s.Center, Sigma: s.Spread, Nu: s.Freedom}
	at, limit := logarithm(score), logarithm(s.Threshold)
	above := good.Survival(limit) * good.CDF(at)
	return above / (above + good.CDF(limit)*good.Survival(at))
}

// LogOdds is the logarithm of the odds of a good score below one whose logarithm lies t spreads above the center: the
// logit of a [Scale.Value] is that of the score less that of the threshold.
func LogOdds(t, freedom float64) float64 {
	good := distuv.StudentsT{Sigma: 1, Nu: freedom}
	return math.Log(good.CDF(t)) - math.Log(good.Survival(t))
}

// Defective reports whether a score is above the threshold.
func (s Scale) Defective(score float64) bool { return score > s.Threshold }

// curvePoints is the number of points of a Curve, evenly spaced in the logarithm.
const curvePoints = 4096

// Curve is Value for many scores at once, to within 0.01: it interpolates between tabulated points.
type Curve struct {
	low, step float64 // of logarithms
	values    [curvePoints]float32
}

// Curve tabulates Value from far below to far above the threshold.
func (s Scale) Curve() *Curve {
	low, high := logarithm(s.Threshold)-3, logarithm(s.Threshold)+3
	c := &Curve{low: low, step: (high - low) / (curvePoints - 1)}
	for i := range c.values {
		c.values[i] = float32(s.Value(math.Exp(low + float64(i)*c.step)))
	}
	return c
}

// At returns the value of a score.
func (c *Curve) At(score float32) float32 {
	at := (logarithm(float64(score)) - c.low) / c.step
	if !(at > 0) {
		return c.values[0]
	}
	i := int(at)
	if i >= curvePoints-1 {
		return c.values[curvePoints-1]
	}
	t := float32(at - float64(i))
	return c.values[i]*(1-t) + c.values[i+1]*t
}
