package page

import (
	"fmt"
	"slices"
)

// most is the largest number of points of a line.
const most = 400

// training plots train.jsonl.
func (r *run) training() ([]figure, error) {
	if len(r.steps) == 0 {
		return nil, nil
	}
	last := r.steps[len(r.steps)-1]
	var out []figure
	for _, part := range []struct {
		title, caption, axis string
		of                   func(step) float64
		smooth               bool
	}{
		{"Loss", "Training loss of single steps (thin) and the median of those about them (thick). It should fall quickly, then slowly; a rise or a plateau near its start is a sign of trouble.", "loss",
			func(s step) float64 { return s.Loss }, true},
		{"Learning rate", "The step size of the optimiser: it rises in the warm-up and falls along a cosine.", "learning rate", func(s step) float64 { return s.LR }, false},
		{"Gradient norm", "Norm of the gradient before it is clipped, single steps (thin) and the median of those about them (thick).", "norm", func(s step) float64 { return s.GradNorm }, true},
	} {
		x, y := make([]float64, len(r.steps)), make([]float64, len(r.steps))
		for i, s := range r.steps {
			x[i], y[i] = float64(s.Iteration), part.of(s)
		}
		g := graph{x: "iteration", y: part.axis}
		if part.smooth {
			tx, ty := extremes(x, y)
			mx, my := medians(x, y)
			g.lines = []series{{colour: faintColour, width: 0.7, x: tx, y: ty}, {colour: objectColour, width: 2, x: mx, y: my}}
			g.yMax = 1.05 * quantile(y, 0.995) // so that a few outliers do not flatten the line
		} else {
			tx, ty := extremes(x, y)
			g.lines = []series{{colour: objectColour, width: 2, x: tx, y: ty}}
		}
		f, err := g.figure([]string{fmt.Sprintf("%s at iteration %d", short(part.of(last)), last.Iteration)}, part.title, part.caption, part.title+" over iterations: ")
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// extremes thins a line: it keeps the lowest and the highest value of each of many stretches, so that outliers stay.
func extremes(x, y []float64) (tx, ty []float64) {
	if len(x) <= most {
		return x, y
	}
	at := 0
	for part := range slices.Chunk(y, stretch(len(y), most/2)) {
		low, high := at+slices.Index(part, slices.Min(part)), at+slices.Index(part, slices.Max(part))
		first, second := min(low, high), max(low, high)
		tx, ty = append(tx, x[first], x[second]), append(ty, y[first], y[second])
		at += len(part)
	}
	return tx, ty
}

// medians returns one point for each of up to 50 stretches.
func medians(x, y []float64) (mx, my []float64) {
	at := 0
	for part := range slices.Chunk(y, stretch(len(y), 50)) {
		mx, my = append(mx, (x[at]+x[at+len(part)-1])/2), append(my, quantile(part, 0.5))
		at += len(part)
	}
	return mx, my
}

// stretch is the length of the parts of n values, of which there are at most so many.
func stretch(n, parts int) int { return (n + parts - 1) / parts }

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1))]
}
