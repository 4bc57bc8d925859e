package dataset

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/libjpeg"
	"mvag-torch/internal/testenv"
)

// goldenFit is the published preprocessing, used to compute golden/preprocess with Pillow 13.
var goldenFit = Fit{Resize: configs.Square(448), Crop: configs.Square(392)}

func readPNG(t testing.TB, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return img
}

// planes returns img as planar RGB, by the slow method At.
func planes(img image.Image) []uint8 {
	b := img.Bounds()
	n := b.Dx() * b.Dy()
	pix := make([]uint8, 3*n)
	for y := range b.Dy() {
		for x := range b.Dx() {
			c := color.NRGBAModel.Convert(img.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
			i := y*b.Dx() + x
			pix[i], pix[n+i], pix[2*n+i] = c.R, c.G, c.B
		}
	}
	return pix
}

// asPNG requires that a raster equals the PNG of another decoder's result in every value.
func asPNG(t *testing.T, r raster, name string) {
	t.Helper()
	img := readPNG(t, name)
	if size := img.Bounds().Size(); size != image.Pt(r.w, r.h) {
		t.Fatalf("have %dx%d pixels, want %v", r.w, r.h, size)
	}
	want, have := planes(img), r.pixels()
	for i := range r.w * r.h {
		for c := range 3 {
			if h, w := have[i*r.channels+c%r.channels], want[c*r.w*r.h+i]; h != w {
				t.Fatalf("pixel %d, %d, channel %d: have %d, want %d", i%r.w, i/r.w, c, h, w)
			}
		}
	}
}

// difference returns the largest and the mean absolute difference.
func difference(a, b []uint8) (largest int, mean float64) {
	sum := 0
	for i := range a {
		d := int(a[i]) - int(b[i])
		d = max(d, -d)
		largest = max(largest, d)
		sum += d
	}
	return largest, float64(sum) / float64(len(a))
}

// TestGoldenImages compares with golden/preprocess. PNG is lossless, so the result must equal Pillow's in every value.
// For JPEG, chroma and colour conversion equal libjpeg's (TestChromaAsLibjpeg), but the inverse DCT does not: Go rounds
// one or two of a hundred samples to the next level. A level of Cb is 1.77 levels of blue, which together with one of
// luma makes up to 3. Measured mean differences are 0.02 to 0.04. The bound allows for another inverse DCT, but not for
// repeated chroma (23 levels and more, 0.6 on average). With libjpeg-turbo, results are equal.
func TestGoldenImages(t *testing.T) {
	dir := testenv.Shared(t, "golden/preprocess")
	for _, tt := range []struct {
		name, expected string
		largest        int
		mean           float64
	}{
		{"alpha.png", "alpha_png_392.png", 0, 0},
		{"rgb.png", "rgb_png_392.png", 0, 0},
		{"gray16.png", "gray16_png_high_392.png", 0, 0},
		{"large.jpg", "large_jpg_392.png", 3, 0.2},
		{"small.jpg", "small_jpg_392.png", 3, 0.2},
		{"gray.jpg", "gray_jpg_392.png", 1, 0.2},
		{"wide.jpg", "wide_jpg_392.png", 3, 0.2},
		{"exif6.jpg", "exif6_jpg_392.png", 3, 0.2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make([]uint8, 3*392*392)
			if err := fitFile(goldenFit, filepath.Join(dir, tt.name), got); err != nil {
				t.Fatal(err)
			}
			largest, mean := difference(got, planes(readPNG(t, filepath.Join(dir, tt.expected))))
			t.Logf("%s: largest difference %d, mean %.4f", tt.name, largest, mean)
			if libjpeg.Available {
				tt.largest, tt.mean = 0, 0
			}
			if largest > tt.largest || mean > tt.mean {
				t.Errorf("difference: have largest %d and mean %.4f, want at most %d and %g", largest, mean, tt.largest, tt.mean)
			}
		})
	}
}

// TestGoldenMasks compares both rules in every pixel, and the number of defect pixels with preprocess.json.
func TestGoldenMasks(t *testing.T) {
	dir := testenv.Shared(t, "golden/preprocess")
	var manifest struct {
		Masks map[string]map[string]json.RawMessage
	}
	data, err := os.ReadFile(filepath.Join(dir, "preprocess.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest.Masks) == 0 {
		t.Fatal("preprocess.json: no masks")
	}
	for name, rules := range manifest.Masks {
		for _, rule := range []string{MaskGT0, MaskGT05} {
			t.Run(name+"/"+rule, func(t *testing.T) {
				var want struct {
					File   string
					Pixels int
				}
				if err := json.Unmarshal(rules[rule], &want); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, name)
				got, err := maskOf(goldenFit, View{Path: path, Mask: path, Code: "X"}, rule, 256)
				if err != nil {
					t.Fatal(err)
				}
				img := planes(readPNG(t, filepath.Join(dir, want.File)))
				pixels, wrong := 0, 0
				for i, defect := range got {
					if defect {
						pixels++
					}
					if defect != (img[i] == 255) {
						wrong++
					}
				}
				t.Logf("%s, %s: %d defect pixels, %d different", name, rule, pixels, wrong)
				if wrong > 0 || pixels != want.Pixels {
					t.Errorf("have %d defect pixels and %d different, want %d and 0", pixels, wrong, want.Pixels)
				}
			})
		}
	}
}

// TestGoldenFittedMasks compares the gray values before resampling.
func TestGoldenFittedMasks(t *testing.T) {
	dir := testenv.Shared(t, "golden/preprocess")
	for _, name := range []string{"mask_a", "mask_b"} {
		t.Run(name, func(t *testing.T) {
			data, err := readFile(filepath.Join(dir, name+".png"), nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := decode(data, false, maxPixels)
			if err != nil {
				t.Fatal(err)
			}
			got := new(resizer).square(r.gray(), 448, 28, 392)
			want := planes(readPNG(t, filepath.Join(dir, name+"_392.png")))[:392*392]
			if largest, mean := difference(got, want); largest > 0 {
				t.Errorf("difference: have largest %d and mean %.4f, want 0", largest, mean)
			}
		})
	}
}
