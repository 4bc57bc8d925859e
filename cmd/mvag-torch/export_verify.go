package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/export"
	"mvag-torch/inspect"
	"mvag-torch/model/calibration"
	"mvag-torch/model/checkpoint"
)

// verifier compares an exported file with this program. Its nil value compares nothing.
type verifier struct {
	python   *export.Python
	runtimes []string
	setup    *inspect.Setup
	given    []dataset.Object // of PATH
	content  image.Rectangle  // where the images of the export lie in the viewport
	size     image.Point      // of random images
}

// newVerifier finds the programs to compare with and the images of the arguments; nil without --verify.
func newVerifier(c *cli.Context, f *checkpoint.File, cfg configs.Config, opt export.Options) (*verifier, error) {
	if !c.Bool("verify") {
		return nil, nil
	}
	v := &verifier{size: opt.Image}
	var err error
	if v.python, err = export.FindPython(c.Context, cmp.Or(os.Getenv("MVAG_PYTHON"), "python3")); err != nil {
		return nil, fmt.Errorf("--verify: %w", err)
	}
	if v.runtimes, err = v.python.Runtimes(); err != nil {
		return nil, fmt.Errorf("--verify: %w", err)
	}
	if v.setup, err = inspect.Read(f.Path, inspect.Options{Uncalibrated: true, Log: logLine}); err != nil {
		return nil, err
	}
	v.setup.Config = cfg
	view := cfg.Data.Viewport()
	if v.size == (image.Point{}) {
		v.size = image.Pt(view.Width(), view.Height())
	}
	v.content = dataset.NewFit(cfg.Data).Content(v.size.X, v.size.Y)
	if c.Args().Present() {
		found, err := collect(c, v.setup, false)
		if err == nil && len(found.Rejected) > 0 {
			err = fmt.Errorf("%s: %w", found.Rejected[0].Path, found.Rejected[0].Err)
		}
		if err != nil {
			v.close()
			return nil, fmt.Errorf("--verify: %w", err)
		}
		v.given = found.Objects
	}
	return v, nil
}

func (v *verifier) close() {
	if v != nil {
		_ = v.setup.Close() // only read
	}
}

// verify runs objects through the file in each runtime and prints a table. A difference is an error.
func (v *verifier) verify(ctx context.Context, path string, d *export.Description) error {
	if v == nil {
		return nil
	}
	checked, err := v.python.Check(ctx, path)
	if err != nil {
		return err
	}
	if checked {
		fmt.Printf("onnx %s: the checker finds no fault\n", v.python.Versions["onnx"])
	}
	inspector, err := v.setup.Start()
	if err != nil {
		return err
	}
	defer inspector.Close()
	m := &caseMaker{verifier: v, d: d, rng: rand.New(rand.NewPCG(1, 2))}
	m.outside = []int64{-1, int64(len(d.Classes)), math.MaxInt64}
	objects, err := m.objects()
	if err != nil {
		return err
	}
	limits := export.LimitsOf(v.setup.Config, d)
	reports, err := v.python.Verify(ctx, path, d, v.runtimes, limits, func(use func(export.Case) error) error {
		progress, done := newImageBar(objects, "comparing"), 0
		return inspector.Objects(ctx, objects, nil, func(r *inspect.Result) error {
			done += len(r.Images)
			progress(done)
			c, why := m.newCase(r)
			if why != "" {
				m.passOver(r.Object, why)
				return nil
			}
			return use(c)
		})
	})
	if err != nil {
		return interrupted(ctx, err, fmt.Sprintf("interrupted; %s is written, and not compared with all objects", path))
	}
	if n := len(m.passedOver); n > 0 {
		fmt.Fprintf(os.Stderr, "passed over in the comparison: %s; the first: %s\n", count(n, "object"), m.passedOver[0])
	}
	return cmp.Or(printReports(os.Stdout, path, limits, reports), m.noneCompared(path))
}

// printReports prints the table of a comparison. The error is the first difference that is too large.
func printReports(w io.Writer, path string, limits export.Limits, reports []export.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tobjects\timages\tmax |map|\tmax score (relative)\tmax |value|\t"+
		"decisions\tdifferent\tat the threshold\tflipped by other thresholds\tnot as wanted")
	var failed error
	for _, r := range reports {
		fmt.Fprintf(t, "%s %s\t%d\t%d\t%.1e\t%.1e\t%.1e\t%d\t%d\t%d\t%d\t%d\n",
			r.Runtime, r.Version, r.Objects, r.Images, r.Map, r.Score, r.Value,
			r.Decisions, r.Different, r.Near, r.Changed, r.Unmoved)
		if err := r.Err(); err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", path, err)
		}
	}
	fmt.Fprintf(t, "at most\t\t\t%.0e\t%.0e\t%.0e\n", limits.Map, limits.Score, limits.Value)
	return cmp.Or(t.Flush(), failed)
}

// caseMaker turns what the inspector says of objects into cases.
type caseMaker struct {
	*verifier
	d          *export.Description
	rng        *rand.Rand
	outside    []int64 // numbers of no class, in turn
	turn       int
	passedOver []string
	missed     []string // those of passedOver that PATH has
}

// passOver notes an object that cannot be compared.
func (m *caseMaker) passOver(o *dataset.Object, why string) {
	text := fmt.Sprintf("%q: %s", o.ID, why)
	m.passedOver = append(m.passedOver, text)
	if slices.ContainsFunc(m.given, func(g dataset.Object) bool { return g.ID == o.ID }) {
		m.missed = append(m.missed, text)
	}
}

// noneCompared is the error that all objects of PATH were passed over.
func (m *caseMaker) noneCompared(path string) error {
	n := len(m.given)
	if n == 0 || len(m.missed) < n {
		return nil
	}
	return fmt.Errorf("%s: none of the %d objects of PATH could be compared: %s", path, n, m.missed[0])
}

// objects are those given, some of them again with a view less and of an unknown class, and random ones of each class.
func (m *caseMaker) objects() ([]dataset.Object, error) {
	const again, random = 2, 2 // objects, of each class
	all, seen := slices.Clone(m.given), map[string]int{}
	for _, o := range m.given {
		if seen[o.Class]++; seen[o.Class] > again || len(o.Views) < 2 {
			continue
		}
		less := o
		less.ID, less.Views = o.ID+" without a view", slices.Clone(o.Views)
		gone := m.rng.IntN(len(o.Views))
		less.Views[gone] = dataset.View{Camera: gone}
		unknown := o
		unknown.ID, unknown.Class = o.ID+" of an unknown class", ""
		all = append(all, less, unknown)
	}
	for _, class := range append(m.classes(), "") {
		for i := range random {
			o, err := m.random(class, i)
			if err != nil {
				return nil, err
			}
			all = append(all, o)
		}
	}
	if only := m.classes(); m.d.Unknown == nil && len(only) == 1 {
		for i := range all { // the graph is not asked
			all[i].Class = only[0]
		}
	}
	return all, nil
}

// classes are those of the file.
func (m *caseMaker) classes() (names []string) {
	for _, c := range m.d.Classes {
		names = append(names, c.Name)
	}
	return names
}

// random draws an object: of each two, one has all views and one lacks about half of them.
func (m *caseMaker) random(class string, i int) (dataset.Object, error) {
	o := dataset.Object{Class: class, ID: fmt.Sprintf("random %d of class %q", i+1, class)}
	for camera := range m.d.Input.Views {
		v := dataset.View{Camera: camera}
		if i%2 == 0 || m.rng.IntN(2) == 0 {
			var err error
			if v.Data, err = m.image(); err != nil {
				return o, err
			}
		}
		o.Views = append(o.Views, v)
	}
	return o, nil
}

// image is a PNG file of a random image: waves of all lengths, and noise.
func (m *caseMaker) image() ([]byte, error) {
	img := image.NewRGBA(image.Rectangle{Max: m.size})
	var wave [3][3]float64 // of each channel: across, down, phase
	for c := range wave {
		wave[c] = [3]float64{0.3 * m.rng.Float64(), 0.3 * m.rng.Float64(), 6 * m.rng.Float64()}
	}
	noise := 60 * m.rng.Float64()
	for y := range m.size.Y {
		for x := range m.size.X {
			var v [3]uint8
			for c, w := range wave {
				value := 128 + 80*math.Sin(w[0]*float64(x)+w[1]*float64(y)+w[2]) + noise*m.rng.NormFloat64()
				v[c] = uint8(min(255, max(0, value)))
			}
			img.SetRGBA(x, y, color.RGBA{v[0], v[1], v[2], 255})
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}

// newCase is what the inspector says of an object, or why the graph cannot be asked about it.
func (m *caseMaker) newCase(r *inspect.Result) (c export.Case, why string) {
	n, area := m.d.Input.Views, m.d.Input.Height*m.d.Input.Width
	c = export.Case{Name: r.Object.ID, Pixels: make([]uint8, n*3*area), Present: make([]bool, n)}
	c.Images = make([]export.Judged, n)
	for i := range c.Pixels { // absent images count for nothing, whatever they show
		c.Pixels[i] = uint8(m.rng.Uint32())
	}
	c.Class = int64(slices.Index(m.classes(), r.Object.Class))
	if c.Class < 0 {
		c.Class = m.outside[m.turn%len(m.outside)]
		m.turn++
	}
	c.Object = unjudged()
	for _, seen := range r.Images {
		if why := m.add(&c, r.Object, &seen); why != "" {
			return c, why
		}
	}
	if r.Verdict != nil {
		c.Object = judged(r.Verdict, m.setup.Heads.Of(r.Verdict.Head).Object, r.Object.Class)
	}
	return c, ""
}

// add enters an image of an object.
func (m *caseMaker) add(c *export.Case, o *dataset.Object, img *inspect.Image) (why string) {
	seen, ok := img.Seen()
	head, n, at := m.head(c.Class), 3*m.d.Input.Height*m.d.Input.Width, max(0, img.Camera-1)
	switch {
	case !ok:
		return img.Error
	case seen.Content != m.content:
		return fmt.Sprintf("%s lies at %v of the input, where the file wants %v (--image)", img.Path, seen.Content, m.content)
	case head == calibration.Memory || head == calibration.Both:
		if len(o.Views) < m.d.Input.Views {
			return "a single image may be of any camera, which the file has to be told"
		}
		if _, ok := m.setup.Memory.Of(o.Class).Cameras[at]; !ok {
			return fmt.Sprintf("nothing is remembered of camera C%d, whose images the file does not judge", at+1)
		}
	}
	copy(c.Pixels[at*n:], seen.Pixels)
	c.Present[at], c.Images[at] = true, unjudged()
	switch {
	case head == "":
	case img.Verdict != nil:
		c.Images[at] = judged(img.Verdict, m.setup.Heads.Of(img.Head).Image, o.Class)
		c.Images[at].Map = seen.Map
	default: // no calibration
		c.Images[at].Map, c.Images[at].Score = seen.Map, seen.Score
		if !(c.Object.Score >= seen.Score) {
			c.Object.Score = seen.Score
		}
	}
	return ""
}

// head is what judges a class in the file, "" where nothing does.
func (m *caseMaker) head(class int64) string {
	if m.d.Unknown != nil && (class < 0 || class >= int64(len(m.d.Classes))) {
		return m.d.Unknown.Head
	}
	return m.d.Classes[max(0, min(class, int64(len(m.d.Classes))-1))].Head
}

// unjudged is what cannot be judged, and so is not good.
func unjudged() export.Judged {
	return export.Judged{Score: math.NaN(), Value: math.NaN(), Defective: true}
}

// judged is a verdict and the scale of its class.
func judged(v *inspect.Verdict, level calibration.Level, class string) export.Judged {
	scale := level.For(class)
	return export.Judged{Score: v.Score, Value: v.Calibrated, Scale: &scale, Defective: v.Decision == inspect.Defective}
}
