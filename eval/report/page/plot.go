package page

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is one plot with its caption.
type figure struct {
	Title, Caption string
	Alt            string // text for readers who do not see it
	SVG            template.HTML
}

// Colours stand for variables of the style sheet, by which svg replaces them, so that a plot follows the theme. Black
// becomes the colour of text.
var (
	inkColour    = color.RGBA{0, 0, 0, 255}
	gridColour   = color.RGBA{1, 0, 0, 255}
	objectColour = color.RGBA{2, 0, 0, 255}
	imageColour  = color.RGBA{3, 0, 0, 255}
	pixelColour  = color.RGBA{4, 0, 0, 255}
	goodColour   = color.RGBA{5, 0, 0, 255}
	badColour    = color.RGBA{6, 0, 0, 255}
	faintColour  = color.RGBA{7, 0, 0, 255}
)

var themed = strings.NewReplacer(
	"#000000", "currentColor", "#010000", "var(--grid)", "#020000", "var(--objects)", "#030000", "var(--images)",
	"#040000", "var(--pixels)", "#050000", "var(--good)", "#060000", "var(--bad)", "#070000", "var(--faint)",
	"#0400FF", "var(--pixels);fill-opacity:.2", "#0500FF", "var(--good);fill-opacity:.2", "#0600FF", "var(--bad);fill-opacity:.2",
)

// filled is the colour of the area below a line.
func filled(line color.RGBA) color.Color { return color.RGBA{line.R, line.G, 255, 255} }

// Size of a plot in the units of its text.
const (
	plotWidth  vg.Length = 340
	plotHeight vg.Length = 250
)

// sans is the font for measuring text. The page uses its own font.
var sans = font.Font{Typeface: "Liberation", Variant: "Sans", Size: 11}

// series is a line of a plot.
type series struct {
	name   string // "" to leave it out of the legend
	colour color.RGBA
	dashes []vg.Length
	width  vg.Length
	x, y   []float64
	fill   bool // down to y = 0
	marks  bool // circles at the points instead of a line
}

// graph is a plot of lines.
type graph struct {
	x, y      string // names of the axes
	xMax      float64
	xLog      bool    // all x are above 0
	yMax      float64 // 0 to take it from the lines
	xTicks    plot.Ticker
	yTicks    plot.Ticker
	left, top bool // where the legend goes
	lines     []series
}

// render draws g. It returns a panic of the plot library, over odd values, as an error.
func (g *graph) render() (out template.HTML, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("plot of %s over %s: %v", g.y, g.x, r)
		}
	}()
	p := plot.New()
	p.BackgroundColor = nil
	g.axes(p)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColour, gridColour
	p.Add(grid)
	for _, s := range g.lines {
		if err := s.add(p); err != nil {
			return "", fmt.Errorf("plot of %s over %s: %w", g.y, g.x, err)
		}
	}
	if g.xLog {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, decades{}
		p.X.Label.Text += ", logarithmic"
	}
	if g.xMax > 0 {
		p.X.Min, p.X.Max = 0, g.xMax
	}
	p.Y.Min = 0
	if g.yMax > 0 {
		p.Y.Max = g.yMax
	}
	return svg(p)
}

func (g *graph) axes(p *plot.Plot) {
	for _, a := range []struct {
		axis *plot.Axis
		name string
		tick plot.Ticker
	}{{&p.X, g.x, g.xTicks}, {&p.Y, g.y, g.yTicks}} {
		a.axis.Label.Text = a.name
		a.axis.Label.TextStyle.Font = sans
		a.axis.Tick.Label.Font = sans
		a.axis.LineStyle.Width, a.axis.Tick.LineStyle.Width = 0.6, 0.6
		a.axis.Padding = 0
		a.axis.Tick.Marker = shortTicks{}
		if a.tick != nil {
			a.axis.Tick.Marker = a.tick
		}
	}
	p.Legend.Left, p.Legend.Top = g.left, g.top
	p.Legend.TextStyle.Font = sans
	p.Legend.Padding, p.Legend.ThumbnailWidth = 3, 18
	p.Legend.XOffs, p.Legend.YOffs = -4, 4
	if g.left {
		p.Legend.XOffs = 4
	}
	if g.top {
		p.Legend.YOffs = -4
	}
}

func (s series) add(p *plot.Plot) error {
	if len(s.x) == 0 {
		return nil
	}
	points := make(plotter.XYs, len(s.x))
	for i := range s.x {
		points[i] = plotter.XY{X: s.x[i], Y: s.y[i]}
	}
	if s.marks {
		dots, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: s.colour, Radius: 4, Shape: draw.CircleGlyph{}}
		p.Add(dots)
		return nil
	}
	if s.fill {
		shape := slices.Concat(plotter.XYs{{X: points[0].X}}, points, plotter.XYs{{X: points[len(points)-1].X}})
		area, err := plotter.NewPolygon(shape)
		if err != nil {
			return err
		}
		area.Color, area.LineStyle.Width = filled(s.colour), 0
		p.Add(area)
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.Color, line.Dashes, line.Width = s.colour, s.dashes, s.width
	if line.Width == 0 {
		line.Width = 1.6
	}
	p.Add(line)
	if s.name != "" {
		name := s.name
		if !p.Legend.Left {
			name += strings.Repeat(" ", 1+len(name)/5) // room for fonts that are wider than sans
		}
		p.Legend.Add(name, line)
	}
	return nil
}

var (
	headOfSVG = regexp.MustCompile(`(?s)^.*?<svg [^>]*?viewBox="([^"]*)"[^>]*>`)
	fonts     = regexp.MustCompile(`font-(family|weight|style|variant):[^;"]*;?`)
)

// svg returns a plot for embedding: with colours and fonts of the page, as wide as there is room.
func svg(p *plot.Plot) (template.HTML, error) {
	c := vgsvg.New(plotWidth, plotHeight)
	p.Draw(draw.Crop(draw.New(c), 2, -8, 2, -6))
	var out bytes.Buffer
	if _, err := c.WriteTo(&out); err != nil {
		return "", err
	}
	text := headOfSVG.ReplaceAllString(out.String(), `<svg viewBox="$1" aria-hidden="true" focusable="false">`)
	text = themed.Replace(fonts.ReplaceAllString(text, ""))
	return template.HTML(strings.ReplaceAll(text, "\n", "")), nil
}

// shortTicks are ticks with as few digits as needed.
type shortTicks struct{}

func (shortTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i, t := range ticks {
		if t.Label != "" {
			ticks[i].Label = strconv.FormatFloat(t.Value, 'g', 6, 64)
		}
	}
	return ticks
}

// decades are ticks at 1, 2 and 5 times powers of ten.
type decades struct{}

func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for k := math.Floor(math.Log10(low)); k <= math.Log10(high); k++ {
		for m := 1.0; m < 10; m++ {
			t := plot.Tick{Value: m * math.Pow(10, k)}
			if m == 1 || m == 2 || m == 5 {
				t.Label = strconv.FormatFloat(t.Value, 'g', 6, 64)
			}
			if t.Value >= low && t.Value <= high {
				ticks = append(ticks, t)
			}
		}
	}
	return ticks
}

// wide reports whether values span so wide a range that a logarithmic axis is better.
func wide(low, high float64) bool { return low > 0 && high > 2.5*low }

// fractions are ticks from 0 to max, in percent.
func fractions(max float64, steps int) plot.Ticker {
	var ticks plot.ConstantTicks
	for i := range steps + 1 {
		v := max * float64(i) / float64(steps)
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(100*v, 'g', 3, 64)})
	}
	return ticks
}
