package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/tiff"
)

// The masks of these tests have 6 x 4 pixels, written as rows of characters: "." is background.
const drawnMask = "...... .ab... .ab..c ......"

// drawn sets the pixels of img: each character that is not a dot to its colour, and dots to the colour of ".".
func drawn[T draw.Image](img T, text string, colours map[rune]color.Color) T {
	for y, row := range strings.Fields(text) {
		for x, c := range row {
			img.Set(x, y, colours[c])
		}
	}
	return img
}

var drawnRect = image.Rect(0, 0, 6, 4)

// labelled decodes a file as a mask and returns it in rows of "." and "#", with what is odd about it.
func labelled(t testing.TB, data []byte) (rows string, m mask) {
	t.Helper()
	dir := t.TempDir()
	v := View{Path: filepath.Join(dir, "image.png"), Mask: filepath.Join(dir, "mask"), Code: "x"}
	writeFile(t, v.Mask, data)
	w, h, err := imageSize(data, false)
	if err != nil {
		t.Fatal(err)
	}
	m, err = Fit{}.readMask(new(scratch), v, pngBytes(t, texture(w, h)))
	if err != nil {
		t.Fatal(err)
	}
	pix := m.pixels()
	for y := range h {
		rows += " "
		for _, p := range pix[y*w:][:w] {
			rows += map[uint8]string{0: ".", 255: "#"}[p]
		}
	}
	return rows[1:], m
}

func TestMasksAreLabels(t *testing.T) {
	const all = "...... .##... .##..# ......"
	black, white := color.NRGBA{A: 255}, color.NRGBA{255, 255, 255, 255}
	red, clear := color.NRGBA{255, 0, 0, 255}, color.NRGBA{}
	number := func(v uint16) color.Color { return color.Gray16{v} }
	hidden := func(c color.NRGBA) color.NRGBA { c.A = 0; return c }
	nrgba := func(text string, c map[rune]color.Color) image.Image {
		return drawn(image.NewNRGBA(drawnRect), text, c)
	}
	palette := func(text string, indices map[rune]uint8, colours ...color.Color) image.Image {
		img := image.NewPaletted(drawnRect, colours)
		for y, row := range strings.Fields(text) {
			for x, c := range row {
				img.SetColorIndex(x, y, indices[c])
			}
		}
		return img
	}
	byIndex := map[rune]uint8{'.': 0, 'a': 1, 'b': 2, 'c': 3}
	for _, tt := range []struct {
		name string
		img  image.Image
		want string
	}{
		{"8 bits, 0 and 1", drawn(image.NewGray(drawnRect), drawnMask, map[rune]color.Color{'.': color.Gray{0}, 'a': color.Gray{1}, 'b': color.Gray{1}, 'c': color.Gray{1}}), all},
		{"8 bits, class numbers", drawn(image.NewGray(drawnRect), drawnMask, map[rune]color.Color{'.': color.Gray{0}, 'a': color.Gray{1}, 'b': color.Gray{2}, 'c': color.Gray{255}}), all},
		{"16 bits, instances", drawn(image.NewGray16(drawnRect), drawnMask, map[rune]color.Color{'.': number(0), 'a': number(1), 'b': number(2), 'c': number(3)}), all},
		{"16 bits, numbers whose low byte is 0", drawn(image.NewGray16(drawnRect), drawnMask, map[rune]color.Color{'.': number(0), 'a': number(256), 'b': number(512), 'c': number(65280)}), all},
		{"16 bits, one channel of RGB", drawn(image.NewNRGBA64(drawnRect), drawnMask, map[rune]color.Color{
			'.': color.NRGBA64{A: 65535}, 'a': color.NRGBA64{R: 1, A: 65535}, 'b': color.NRGBA64{G: 1, A: 65535}, 'c': color.NRGBA64{B: 1, A: 65535}}), all},
		{"RGB, pure blue and dark red", nrgba(drawnMask, map[rune]color.Color{'.': black, 'a': color.NRGBA{0, 0, 1, 255}, 'b': color.NRGBA{1, 0, 0, 255}, 'c': red}), all},
		{"alpha where the colour says nothing", nrgba(drawnMask, map[rune]color.Color{'.': hidden(white), 'a': white, 'b': white, 'c': color.NRGBA{255, 255, 255, 7}}), all},
		{"black on transparent", nrgba(drawnMask, map[rune]color.Color{'.': clear, 'a': black, 'b': black, 'c': black}), all},
		{"colour on transparent white", nrgba(drawnMask, map[rune]color.Color{'.': hidden(white), 'a': red, 'b': white, 'c': red}), all},
		{"colour on black and transparent", nrgba(strings.Replace(drawnMask, "......", "..--..", 1), map[rune]color.Color{'.': black, '-': hidden(red), 'a': red, 'b': red, 'c': red}), all},
		{"alpha 0 everywhere", nrgba(drawnMask, map[rune]color.Color{'.': clear, 'a': hidden(red), 'b': hidden(white), 'c': hidden(red)}), all},
		{"palette by index, whatever the colours", palette(drawnMask, byIndex, white, red, color.NRGBA{0, 128, 0, 255}, white), all},
		{"palette whose colours are all black", palette(drawnMask, byIndex, black, black, black, black), all},
		{"palette, background is the only black", palette(drawnMask, map[rune]uint8{'.': 1, 'a': 0, 'b': 2, 'c': 0}, white, black, red), all},
		{"palette, black is not used", palette(drawnMask, map[rune]uint8{'.': 0, 'a': 2, 'b': 2, 'c': 2}, white, black, red), all},
		{"palette, transparent background", palette(drawnMask, map[rune]uint8{'.': 1, 'a': 0, 'b': 0, 'c': 0}, red, hidden(white)), all},
		{"palette, transparent index 0 and black", palette(drawnMask, byIndex, clear, black, black, black), all},
		{"one bit", palette(drawnMask, map[rune]uint8{'a': 1, 'b': 1, 'c': 1}, black, white), all},
		{"empty", nrgba(drawnMask, map[rune]color.Color{'.': black, 'a': black, 'b': black, 'c': black}), "...... ...... ...... ......"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			have, m := labelled(t, pngBytes(t, tt.img))
			if have != tt.want || len(m.kinds) > 0 || m.marked != strings.Count(tt.want, "#") {
				t.Errorf("have %s, %d marked and %q, want %s", have, m.marked, m.kinds, tt.want)
			}
		})
	}
}

// TestMasksOfTIFF: values count as they are shown. WhiteIsZero stores white as 0.
func TestMasksOfTIFF(t *testing.T) {
	img := drawn(image.NewGray(drawnRect), drawnMask, map[rune]color.Color{'.': color.Gray{0}, 'a': color.Gray{1}, 'b': color.Gray{1}, 'c': color.Gray{9}})
	var buf bytes.Buffer
	if err := tiff.Encode(&buf, img, nil); err != nil {
		t.Fatal(err)
	}
	plain := buf.Bytes()
	if have, _ := labelled(t, plain); have != "...... .##... .##..# ......" {
		t.Errorf("have %s", have)
	}
	inverted := tiffWith(t, plain, 262, 0)
	for i := range img.Pix {
		inverted[8+i] = 255 - inverted[8+i]
	}
	if have, _ := labelled(t, inverted); have != "...... .##... .##..# ......" {
		t.Errorf("WhiteIsZero: have %s", have)
	}
}

// tiffWith returns a TIFF with another value of a tag.
func tiffWith(t testing.TB, data []byte, tag, value uint16) []byte {
	data = slices.Clone(data)
	at := int(binary.LittleEndian.Uint32(data[4:])) + 2
	for n := binary.LittleEndian.Uint16(data[at-2:]); n > 0; n-- {
		if binary.LittleEndian.Uint16(data[at:]) == tag {
			binary.LittleEndian.PutUint16(data[at+2:], tiffUint16)
			binary.LittleEndian.PutUint32(data[at+4:], 1)
			binary.LittleEndian.PutUint16(data[at+8:], value)
			return data
		}
		at += 12
	}
	t.Fatalf("have no tag %d", tag)
	return nil
}

// TestWebPMasks: lossless WebP has exact values, lossy WebP has not.
func TestWebPMasks(t *testing.T) {
	for name, want := range map[string][]Finding{
		"lossless.webp": {MaskLevels}, "lossy_33x17.webp": {LossyMask, MaskLevels}, "lossy_alpha.webp": {LossyMask, MaskLevels},
	} {
		data, err := readFile(filepath.Join("testdata/kinds", name), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, m := labelled(t, data)
		found := slices.DeleteFunc(m.kinds, func(k Finding) bool { return k == FullMask || k == InvertedMask })
		if !slices.Equal(found, want) {
			t.Errorf("%s: have %q, want %q", name, found, want)
		}
	}
}

// TestMasksOfJPEG: values around edges ring, so that half of the highest value decides, and the file is a finding.
func TestMasksOfJPEG(t *testing.T) {
	exact := image.NewGray(image.Rect(0, 0, 96, 96))
	draw.Draw(exact, image.Rect(37, 41, 53, 49), image.White, image.Point{}, draw.Src)
	dim := image.NewGray(exact.Rect)
	for i, v := range exact.Pix {
		dim.Pix[i] = v / 4
	}
	red := image.NewNRGBA(exact.Rect)
	for i, v := range exact.Pix {
		copy(red.Pix[4*i:], []uint8{v, 0, 0, 255})
	}
	for name, img := range map[string]image.Image{"gray": exact, "dim": dim, "red": red} {
		var buf bytes.Buffer
		if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: 75}); err != nil {
			t.Fatal(err)
		}
		rows, m := labelled(t, buf.Bytes())
		if !slices.Equal(m.kinds, []Finding{LossyMask}) {
			t.Errorf("%s: have %q", name, m.kinds)
		}
		if name != "red" && (m.marked != 16*8 || !bytes.Equal(m.pixels(), exact.Pix)) { // chroma has half the resolution
			t.Errorf("%s: have %d pixels, want 128: %s", name, m.marked, rows)
		}
	}
	black := jpegBytes(t, image.NewGray(exact.Rect))
	if _, m := labelled(t, black); m.marked != 0 {
		t.Errorf("black: have %d pixels", m.marked)
	}
}

// TestOddMasks: masks of many values, white all over, inverted, or equal to their image are findings.
func TestOddMasks(t *testing.T) {
	square := image.Rect(0, 0, 24, 24)
	gray := func(value func(x, y int) uint8) *image.Gray {
		img := image.NewGray(square)
		for i := range img.Pix {
			img.Pix[i] = value(i%24, i/24)
		}
		return img
	}
	photo := gray(func(x, y int) uint8 { return uint8(x*y*5 + 3*x) })
	soft := gray(func(x, y int) uint8 { return uint8(max(0, 255-20*max(x, y))) })
	file := pngBytes(t, photo)
	rgb := image.NewNRGBA(square)
	draw.Draw(rgb, square, photo, image.Point{}, draw.Src)
	for _, tt := range []struct {
		name  string
		image []byte
		mask  []byte
		want  []Finding
	}{
		{"plain", file, pngBytes(t, gray(func(x, y int) uint8 { return uint8(x / 12 * (y / 12)) })), nil},
		{"16 values", file, pngBytes(t, gray(func(x, y int) uint8 { return uint8(min(15, x) * (y / 20)) })), nil},
		{"17 values", file, pngBytes(t, gray(func(x, y int) uint8 { return uint8(min(16, x) * (y / 20)) })), []Finding{MaskLevels}},
		{"antialiased", file, pngBytes(t, gray(func(x, y int) uint8 { return uint8(255-10*x) * uint8(y/23) })), []Finding{MaskLevels}},
		{"white", file, pngBytes(t, gray(func(x, y int) uint8 { return 255 })), []Finding{FullMask}},
		{"inverted", file, pngBytes(t, gray(func(x, y int) uint8 { return uint8(min(1, max(0, x-10)+max(0, 8-y))) })), []Finding{InvertedMask}},
		{"most, but not the border", file, pngBytes(t, gray(func(x, y int) uint8 { return uint8(min(x, y, 23-x, 23-y, 1)) })), nil},
		{"the same file", file, file, []Finding{MaskLevels, InvertedMask, MaskIsImage}},
		{"the same pixels", file, pngBytes(t, rgb), []Finding{MaskLevels, InvertedMask, MaskIsImage}},
		{"another photograph", pngBytes(t, soft), file, []Finding{MaskLevels, InvertedMask}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := View{Path: "image", Mask: filepath.Join(t.TempDir(), "mask"), Code: "x"}
			writeFile(t, v.Mask, tt.mask)
			m, err := Fit{}.readMask(new(scratch), v, tt.image)
			if err != nil || !slices.Equal(m.kinds, tt.want) {
				t.Errorf("have %q and error %v, want %q", m.kinds, err, tt.want)
			}
			v.Code = ""
			if m, err = (Fit{}).readMask(new(scratch), v, tt.image); err != nil || !slices.Contains(m.kinds, MaskOnGood) {
				t.Errorf("of a good image: have %q and error %v", m.kinds, err)
			}
		})
	}
}

// TestMaskFitsTurnedImage: a mask that fits only the image as EXIF turns it says so.
func TestMaskFitsTurnedImage(t *testing.T) {
	img := withOrientation(jpegBytes(t, texture(8, 16)), binary.BigEndian, 6)
	for _, exif := range []bool{false, true} {
		v := View{Path: "image", Mask: filepath.Join(t.TempDir(), "mask"), Code: "x"}
		w, h := 16, 8
		if exif {
			w, h = h, w
		}
		writeFile(t, v.Mask, pngBytes(t, image.NewGray(image.Rect(0, 0, w, h))))
		_, err := Fit{Exif: exif}.readMask(new(scratch), v, img)
		wantError(t, err, v.Mask, fmt.Sprintf("have %dx%d pixels, want %dx%d", w, h, h, w), fmt.Sprintf("; it fits the image with data.exif: %t (EXIF orientation 6)", !exif))
		writeFile(t, v.Mask, pngBytes(t, image.NewGray(image.Rect(0, 0, 3, 3))))
		if _, err = (Fit{Exif: exif}).readMask(new(scratch), v, img); err == nil || strings.Contains(err.Error(), "data.exif") {
			t.Errorf("another size: have error %v", err)
		}
	}
}

// FuzzMask decodes anything of at most 4096 pixels as a mask.
func FuzzMask(f *testing.F) {
	f.Add(pngBytes(f, texture(5, 3)))
	f.Add(pngBytes(f, image.NewGray16(image.Rect(0, 0, 3, 3))))
	f.Add(pngBytes(f, image.NewPaletted(image.Rect(0, 0, 9, 2), color.Palette{color.White, color.Black, color.Transparent})))
	f.Add(jpegBytes(f, texture(17, 9)))
	f.Add(withOrientation(jpegBytes(f, texture(6, 9)), binary.BigEndian, 6))
	for _, name := range kinds(f) {
		data, err := readFile(name, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Fit{labels: true}.decode(new(scratch), data, 1<<12)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have error of several lines %q", err)
			}
			return
		}
		for i, v := range r.pixels() {
			if v != 0 && v != 255 {
				t.Fatalf("pixel %d: have %d, want 0 or 255", i, v)
			}
		}
		img, err := decode(data, false, 1<<12)
		if err != nil || r.w != img.w || r.h != img.h || r.channels != 1 {
			t.Errorf("have %dx%d of %d channels, want %dx%d as an image, error %v", r.w, r.h, r.channels, img.w, img.h, err)
		}
	})
}

// TestMasksSavedAgain: a mask that was a JPEG before rings around its two values, in grayscale and in colour. Antialiased
// masks, and labels near 0 or near 255, do not.
func TestMasksSavedAgain(t *testing.T) {
	const w, h = 96, 80
	disk := image.NewGray(image.Rect(0, 0, w, h))
	want := 0
	for y := range h {
		for x := range w {
			if (x-43)*(x-43)+(y-37)*(y-37) < 23*23 {
				disk.Pix[y*w+x] = 255
				want++
			}
		}
	}
	for _, quality := range []int{75, 90, 95, 100} {
		var buf bytes.Buffer
		if err := jpeg.Encode(&buf, disk, &jpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		img, err := jpeg.Decode(&buf)
		if err != nil {
			t.Fatal(err)
		}
		colour := image.NewRGBA(disk.Rect)
		draw.Draw(colour, disk.Rect, img, image.Point{}, draw.Src)
		red := image.NewRGBA(disk.Rect)
		for i := 0; i < len(red.Pix); i += 4 {
			red.Pix[i], red.Pix[i+3] = colour.Pix[i], 255
		}
		for kind, img := range map[string]image.Image{"grayscale": img, "RGB": colour, "red": red} {
			_, m := labelled(t, pngBytes(t, img))
			if m.marked != want || !slices.Equal(m.kinds, []Finding{LossyMask}) {
				t.Errorf("%s of quality %d: have %d pixels and %q, want %d and a lossy mask", kind, quality, m.marked, m.kinds, want)
			}
		}
	}
}

// TestMasksNotSavedAgain: values near one end only, or evenly between both, are those of labels and of antialiasing.
func TestMasksNotSavedAgain(t *testing.T) {
	for name, pix := range map[string][]uint8{
		"class numbers":    {0, 0, 1, 2, 3, 255},
		"from the top":     {0, 0, 252, 253, 254, 255},
		"three levels":     {0, 0, 128, 255, 128, 0},
		"antialiased":      {0, 5, 60, 120, 180, 250, 255, 255},
		"instances":        {0, 1, 2, 3, 14, 15, 16, 17},
		"all of one value": {255, 255, 255, 255},
	} {
		want := len(pix) - bytes.Count(pix, []byte{0})
		_, m := labelled(t, pngBytes(t, &image.Gray{Pix: pix, Stride: len(pix), Rect: image.Rect(0, 0, len(pix), 1)}))
		if m.marked != want || slices.Contains(m.kinds, LossyMask) {
			t.Errorf("%s: have %d pixels and %q, want %d", name, m.marked, m.kinds, want)
		}
	}
}
