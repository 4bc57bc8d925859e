package model_test

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/golden"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/imagescore"
)

const patch = 14

// mapping is a mapper for tests, which sees a field of distances through the patches of its tiles.
type mapping struct {
	*model.Mapper
	s       *tensor.Scope
	cfg     configs.Config
	corners []image.Point
}

// withMapper calls f with a mapper of the given geometry, on the LibTorch thread.
func withMapper(t *testing.T, data configs.Data, mapSize int, f func(m mapping)) {
	t.Helper()
	cfg := configs.Default()
	cfg.Data.Fit, cfg.Data.Resize, cfg.Data.Crop, cfg.Data.Overlap = data.Fit, data.Resize, data.Crop, data.Overlap
	cfg.Eval.MapSize = mapSize
	err := tensor.Run(func(s *tensor.Scope) error {
		rows, columns := int64(data.Crop.Height()/patch), int64(data.Crop.Width()/patch)
		m := model.NewMapper(s, &model.Model{Encoder: &model.Encoder{Rows: rows, Columns: columns}, Device: tensor.CPU}, cfg)
		f(mapping{m, s, cfg, model.Corners(m)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// of is the map [h, w] of a field that the patches see at their centres, in pixels of the viewport. The image lies at
// content.
func (m mapping) of(field func(x, y float64) float64, content image.Rectangle) []float32 {
	crop := m.cfg.Data.Crop
	rows, columns := crop.Height()/patch, crop.Width()/patch
	var d []float32
	for _, at := range m.corners {
		for i := range rows * columns {
			x, y := float64(at.X)+patch*(float64(i%columns)+0.5), float64(at.Y)+patch*(float64(i/columns)+0.5)
			d = append(d, float32(field(x, y)))
		}
	}
	x := tensor.FromFloats(m.s, tensor.CPU, d, 1, int64(len(m.corners)), int64(rows*columns))
	return m.Forward(m.s, []*tensor.Tensor{x, x}, content).Floats()
}

func (m mapping) view() image.Rectangle { return m.cfg.Data.Viewport().Bounds() }

func bump(x0, y0, sigma float64) func(x, y float64) float64 {
	return func(x, y float64) float64 {
		return math.Exp(-((x-x0)*(x-x0) + (y-y0)*(y-y0)) / (2 * sigma * sigma))
	}
}

// wide and tall are viewports of tiles that are no squares.
var (
	wide = configs.Data{Fit: "tiles", Resize: configs.Size{150, 410}, Crop: configs.Size{70, 112}, Overlap: 0.25}
	tall = configs.Data{Fit: "tiles", Resize: configs.Size{410, 150}, Crop: configs.Size{112, 70}, Overlap: 0.25}
)

// TestNoSeams: of constant distances the map is constant, where the blur does not reach over its border.
func TestNoSeams(t *testing.T) {
	for _, content := range []image.Rectangle{image.Rect(0, 0, 410, 150), image.Rect(31, 0, 379, 150), image.Rect(0, 40, 410, 63)} {
		for _, size := range []int{64, 256, 500} {
			withMapper(t, wide, size, func(m mapping) {
				if len(m.corners) < 6 {
					t.Fatalf("have %d tiles, want several in both directions", len(m.corners))
				}
				values := m.of(func(float64, float64) float64 { return 0.7 }, content)
				h, w := m.cfg.MapSize().Height(), m.cfg.MapSize().Width()
				if len(values) != h*w || w != size || h >= w/2 {
					t.Fatalf("have %d values, want %d x %d", len(values), h, w)
				}
				for i, v := range values {
					if x, y := i%w, i/w; x >= 2 && x < w-2 && y >= 2 && y < h-2 && !(math.Abs(float64(v)-0.7) < 1e-5) {
						t.Fatalf("map of %d, content %v: have %v at (%d, %d), want 0.7", size, content, v, x, y)
					}
				}
			})
		}
	}
}

// TestMatrixCovers: each pixel of the viewport is made of the tiles that it lies in, with weights that are not negative
// and sum to 1. In a second set of tiles three overlap, in a third none.
func TestMatrixCovers(t *testing.T) {
	for _, starts := range [][]int{{0}, {0, 28, 61}, {0, 20, 40, 60}, {0, 56, 112}} {
		const tile = 56
		n := starts[len(starts)-1] + tile
		matrix := model.AxisMatrix(starts, tile, tile/patch, 0, n, n)
		columns := len(starts) * tile / patch
		for y := range n {
			row, sum := matrix[y*columns:(y+1)*columns], 0.
			for k, v := range row {
				start := starts[k/(tile/patch)]
				if v < 0 || v > 0 && (y < start || y >= start+tile) {
					t.Errorf("tiles at %v: pixel %d has weight %v of a patch of the tile at %d", starts, y, v, start)
				}
				sum += float64(v)
			}
			if math.Abs(sum-1) > 1e-6 {
				t.Errorf("tiles at %v: the weights of pixel %d sum to %v", starts, y, sum)
			}
		}
	}
}

// TestResample has values of PyTorch 2.11: interpolate(mode="bilinear", align_corners=False), to less than half with
// antialias=True.
func TestResample(t *testing.T) {
	x := []float32{0, 3, 1, 8, 2, 5, 13, 4, 9, 7, 6}
	for size, want := range map[int][]float32{
		3: {2.657142857142857, 6.2195121951219505, 7.314285714285713},
		7: {0.8571428571428571, 1.2857142857142856, 5.42857142857143, 5.0, 7.857142857142859, 8.714285714285715, 6.2857142857142865},
	} {
		have := make([]float32, size)
		matrix := model.AxisMatrix([]int{0}, len(x), len(x), 0, len(x), size) // a patch a pixel
		for i := range have {
			for k, v := range x {
				have[i] += matrix[i*len(x)+k] * v
			}
		}
		if err := golden.Compare(have, want, 1e-5, 0); err != nil {
			t.Errorf("%d: %v", size, err)
		}
	}
}

// TestOneTile: of one tile that fills the viewport, stitching gives the map of the published operations.
func TestOneTile(t *testing.T) {
	for _, crop := range []configs.Size{{112, 112}, {70, 112}, {112, 56}} {
		withMapper(t, configs.Data{Fit: "squash", Resize: crop, Crop: crop}, 64, func(m mapping) {
			rng := rand.New(rand.NewPCG(1, 1))
			d := make([]float32, crop.Area()/patch/patch)
			for i := range d {
				d[i] = rng.Float32()
			}
			x := []*tensor.Tensor{tensor.FromFloats(m.s, tensor.CPU, d, 1, 1, int64(len(d)))}
			want := m.Forward(m.s, x, m.view()).Floats()
			have := model.Stitched(m.Mapper, m.s, x[0], m.view()).Conv2dExact(m.s, model.Kernel(m.Mapper), 2).Floats()
			if err := golden.Compare(have, want, 1e-5, 0); err != nil {
				t.Errorf("%v: %v", crop, err)
			}
		})
	}
}

// TestPeak moves a peak over the viewport, by whole patches and by odd pixels, over borders and overlaps of tiles: its
// score depends on where it is by less than 2 %, its height by less than 4 %, and the map shows it where it is. The sizes reduce the
// viewport by 1.6, 3.2, 6.4 and 11.7. Where the map has more pixels than there are patches, the peak is wider: a narrow
// one depends on how the patches meet it, whatever becomes of them.
func TestPeak(t *testing.T) {
	large := configs.Data{Fit: "tiles", Resize: configs.Size{2000, 3000}, Crop: configs.Size{392, 392}, Overlap: 0.25}
	for _, test := range []struct {
		data  configs.Data
		size  int
		sigma float64
	}{{wide, 256, 4 * patch}, {wide, 128, 1.5 * patch}, {wide, 64, 1.5 * patch}, {large, 256, 1.5 * patch}} {
		size, sigma, view := test.size, test.sigma, test.data.Resize
		withMapper(t, test.data, size, func(m mapping) {
			w, scale := m.cfg.MapSize().Width(), float64(size)/float64(view.Width())
			scores, heights := []float64(nil), []float64(nil)
			for i := range 60 {
				x, y := 40+5.5*float64(i), 45+float64(i*17%60)
				if view.Width() > 1000 {
					x, y = 60+47.5*float64(i), 60+float64(i*391%1880)
				}
				values := m.of(bump(x, y, sigma), m.view())
				at := 0
				for k, v := range values {
					if v > values[at] {
						at = k
					}
				}
				scores = append(scores, imagescore.TopMean(m.cfg.Top(), values))
				heights = append(heights, float64(values[at]))
				px, py := (float64(at%w)+0.5)/scale, (float64(at/w)+0.5)/scale
				if most := max(patch/2, 1.5/scale); math.Abs(px-x) > most || math.Abs(py-y) > most {
					t.Errorf("map of %d: have a peak at (%.1f, %.1f), want (%.1f, %.1f)", size, px, py, x, y)
				}
			}
			checkSpread(t, fmt.Sprintf("map of %d: score", size), scores, 2)
			checkSpread(t, fmt.Sprintf("map of %d: height", size), heights, 4)
		})
	}
}

// checkSpread checks that values are within so many percent.
func checkSpread(t *testing.T, what string, values []float64, most float64) {
	t.Helper()
	low, high := slices.Min(values), slices.Max(values)
	spread := 100 * (high/low - 1)
	t.Logf("%s: %.4f to %.4f, %.2f %%", what, low, high, spread)
	if !(spread <= most) {
		t.Errorf("%s: have %.4f to %.4f, want them within %v %%", what, low, high, most)
	}
}

// TestOverlapKeepsPatch: a single patch, which two tiles see alike, is as high in their overlap as within a tile.
func TestOverlapKeepsPatch(t *testing.T) {
	data := configs.Data{Fit: "tiles", Resize: configs.Size{112, 224}, Crop: configs.Size{112, 112}, Overlap: 0.5} // tiles at 0, 56, 112
	withMapper(t, data, 224, func(m mapping) {
		var peaks []float32
		for column := 2; column < 14; column++ {
			x0 := patch * (float64(column) + 0.5)
			values := m.of(func(x, y float64) float64 {
				if x == x0 && y == 3.5*patch {
					return 1
				}
				return 0
			}, m.view())
			peaks = append(peaks, slices.Max(values))
		}
		if low, high := slices.Min(peaks), slices.Max(peaks); !(low > 0.5 && high <= 1.01*low) {
			t.Errorf("have peaks %v, want them within 1 %%", peaks)
		}
	})
}

// TestTransposed: the map of a transposed field is the transposed map, and that of a mirrored one is mirrored. Neither
// is true where height and width are mixed up.
func TestTransposed(t *testing.T) {
	field := func(x, y float64) float64 { return math.Sin(x/37) + math.Cos(y/23+x/91) }
	var upright, lying, mirrored []float32
	var size configs.Size
	withMapper(t, wide, 96, func(m mapping) {
		upright, size = m.of(field, image.Rect(20, 11, 400, 140)), m.cfg.MapSize()
		mirrored = m.of(func(x, y float64) float64 { return field(410-x, y) }, image.Rect(10, 11, 390, 140))
	})
	withMapper(t, tall, 96, func(m mapping) {
		lying = m.of(func(x, y float64) float64 { return field(y, x) }, image.Rect(11, 20, 140, 400))
	})
	h, w := size.Height(), size.Width()
	for y := range h {
		for x := range w {
			want := float64(upright[y*w+x])
			if have := float64(lying[x*h+y]); math.Abs(have-want) > 1e-4 {
				t.Fatalf("transposed, (%d, %d): have %v, want %v", x, y, have, want)
			}
			if have := float64(mirrored[y*w+w-1-x]); math.Abs(have-want) > 1e-3 { // corners of tiles are rounded
				t.Fatalf("mirrored, (%d, %d): have %v, want %v", x, y, have, want)
			}
		}
	}
}

// TestContent: the map shows the image alone, wherever it lies in the viewport, of one tile or several.
func TestContent(t *testing.T) {
	padded := configs.Data{Fit: "pad", Resize: configs.Size{140, 210}, Crop: configs.Size{140, 210}}
	for _, data := range []configs.Data{padded, wide} {
		for _, content := range []image.Rectangle{image.Rect(0, 30, 150, 101), image.Rect(63, 0, 140, 140)} {
			withMapper(t, data, 80, func(m mapping) {
				x, y := float64(content.Min.X)+0.3*float64(content.Dx()), float64(content.Min.Y)+0.6*float64(content.Dy())
				values, w, h := m.of(bump(x, y, patch), content), m.cfg.MapSize().Width(), m.cfg.MapSize().Height()
				at := 0
				for i, v := range values {
					if v > values[at] {
						at = i
					}
				}
				px, py := (float64(at%w)+0.5)/float64(w), (float64(at/w)+0.5)/float64(h)
				dx, dy := patch/float64(content.Dx()), patch/float64(content.Dy())
				if math.Abs(px-0.3) > dx || math.Abs(py-0.6) > dy {
					t.Errorf("%s, %v: have the peak at (%.2f, %.2f) of the image, want (0.3, 0.6)", data.Fit, content, px, py)
				}
			})
		}
	}
}

// TestNeighborMask compares with the definition on a grid that is no square.
func TestNeighborMask(t *testing.T) {
	const prefix, rows, columns, side = 2, 3, 5, 3
	err := tensor.Run(func(s *tensor.Scope) error {
		have := model.NeighborMask(s, tensor.CPU, side, prefix, rows, columns).Bytes()
		const n = prefix + rows*columns
		want := make([]byte, n*n)
		for y := range rows {
			for x := range columns {
				for dy := -1; dy <= 1; dy++ {
					for dx := -1; dx <= 1; dx++ {
						if y+dy >= 0 && y+dy < rows && x+dx >= 0 && x+dx < columns {
							want[(prefix+y*columns+x)*n+prefix+(y+dy)*columns+x+dx] = 1
						}
					}
				}
			}
		}
		if !slices.Equal(have, want) {
			t.Errorf("have %v\nwant %v", have, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMatrices: two matrices give the map of all operations, with one tile and several, reduced and enlarged.
func TestMatrices(t *testing.T) {
	square := func(fit string) configs.Data {
		return configs.Data{Fit: fit, Resize: configs.Square(224), Crop: configs.Square(224)}
	}
	for _, test := range []struct {
		data    configs.Data
		size    int
		content image.Rectangle // the viewport where it is empty
	}{
		{square("squash"), 256, image.Rectangle{}}, {square("squash"), 64, image.Rectangle{}},
		{square("pad"), 128, image.Rect(0, 28, 224, 196)}, {square("pad"), 32, image.Rectangle{}},
		{wide, 256, image.Rectangle{}}, {wide, 64, image.Rect(31, 0, 379, 150)}, {tall, 96, image.Rectangle{}},
	} {
		withMapper(t, test.data, test.size, func(m mapping) {
			content := test.content
			if content.Empty() {
				content = m.view()
			}
			rng := rand.New(rand.NewPCG(7, 7))
			r, c := test.data.Crop.Height()/patch, test.data.Crop.Width()/patch
			d := make([]float32, len(m.corners)*r*c)
			for i := range d {
				d[i] = rng.Float32()
			}
			x := tensor.FromFloats(m.s, tensor.CPU, d, 1, int64(len(m.corners)), int64(r*c))
			want := m.Forward(m.s, []*tensor.Tensor{x}, content).Floats()
			down, across := m.Matrices(content)
			h, w := int64(m.cfg.MapSize().Height()), int64(m.cfg.MapSize().Width())
			rows, columns := int64(len(down))/h, int64(len(across))/w
			x = x.Reshape(m.s, rows/int64(r), columns/int64(c), int64(r), int64(c)).Permute(m.s, 0, 2, 1, 3).Reshape(m.s, rows, columns)
			left := tensor.FromFloats(m.s, tensor.CPU, down, h, rows).Matmul(m.s, x) // [h, columns]
			have := left.Matmul(m.s, tensor.FromFloats(m.s, tensor.CPU, across, w, columns).Transpose(m.s, 0, 1)).Floats()
			if err := golden.Compare(have, want, 2e-6, 0); err != nil {
				t.Errorf("%s, map of %d, content %v: %v", test.data.Fit, test.size, content, err)
			}
		})
	}
}
