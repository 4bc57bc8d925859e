package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
)

// deep returns a grayscale image of 16 bits with values from low to high.
func deep(low, high int) *image.Gray16 {
	img := image.NewGray16(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		img.SetGray16(i%4, i/4, color.Gray16{uint16(low + (high-low)*i/15)})
	}
	return img
}

// withChunk puts a chunk behind the header of a PNG.
func withChunk(png []byte, name string, content []byte) []byte {
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(content)))
	chunk = append(append(chunk, name...), content...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	const header = 8 + 4 + 4 + 13 + 4
	return slices.Concat(png[:header], chunk, png[header:])
}

// TestBits: a value of 16 bits becomes v >> (bits - 8), and one that has more bits is an error.
func TestBits(t *testing.T) {
	rgb := image.NewNRGBA64(image.Rect(0, 0, 1, 1))
	rgb.SetNRGBA64(0, 0, color.NRGBA64{4095, 2048, 16, 65535})
	opaque := image.NewRGBA64(rgb.Rect)
	opaque.Set(0, 0, rgb.At(0, 0))
	gray := image.NewGray16(rgb.Rect)
	gray.SetGray16(0, 0, color.Gray16{1023})
	for _, tt := range []struct {
		name string
		img  image.Image
		bits int
		want []uint8
		err  string
	}{
		{"16", gray, 16, []uint8{3}, ""},
		{"not set", gray, 0, []uint8{3}, ""},
		{"10", gray, 10, []uint8{255}, ""},
		{"12", gray, 12, []uint8{63}, ""},
		{"9", gray, 9, nil, "have the value 1023, want at most 511 (data.bits 9)"},
		{"RGB with alpha", rgb, 12, []uint8{255, 128, 1}, ""},
		{"RGB", opaque, 12, []uint8{255, 128, 1}, ""},
		{"RGB of more", opaque, 11, nil, "have the value 4095, want at most 2047 (data.bits 11)"},
		{"8 bits", image.NewGray(rgb.Rect), 10, []uint8{0}, ""},
		{"several depths", gray, unknownBits, nil, "have 16 bits per value and no known class"},
		{"several depths, 8 bits", image.NewGray(rgb.Rect), unknownBits, []uint8{0}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Fit{Bits: tt.bits}.decode(new(scratch), pngBytes(t, tt.img), maxPixels)
			if tt.err != "" {
				wantError(t, err, tt.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if have := r.pixels(); !bytes.Equal(have, tt.want) {
				t.Errorf("have %v, want %v", have, tt.want)
			}
		})
	}
	view := View{Data: pngBytes(t, gray), Path: "x", Bits: 10} // instead of Fit.Bits
	dst := make([]uint8, 3)
	if _, _, err := (Fit{Resize: configs.Square(1), Crop: configs.Square(1), Bits: 8}).Image(view, dst); err != nil || dst[0] != 255 {
		t.Errorf("have %v and error %v, want 255", dst, err)
	}
}

func TestNeededBits(t *testing.T) {
	for top, want := range map[int]int{0: 8, 255: 8, 256: 10, 1023: 10, 1024: 12, 4095: 12, 4096: 14, 16383: 14, 16384: 16, 65535: 16} {
		if have := neededBits(top); have != want {
			t.Errorf("%d: have %d bits, want %d", top, have, want)
		}
	}
}

// deepSet writes a set of three classes: images of 12 bits, of 12 bits at the upper end with an EXIF orientation, and of
// 8 bits with one file that cannot be read.
func deepSet(t testing.TB) configs.Data {
	root := t.TempDir()
	turned := exifBody(binary.BigEndian, 3, 3)[6:]
	for i := range 20 {
		put := func(class string, data []byte) {
			writeFile(t, filepath.Join(root, class, "good", fmt.Sprintf("%02d.png", i)), data)
		}
		put("low", withChunk(pngBytes(t, deep(0, 2000+100*i)), "sBIT", []byte{12}))
		put("upper", withChunk(pngBytes(t, deep(16, 4095*16)), "eXIf", turned))
		put("plain", pngBytes(t, texture(4, 4)))
	}
	writeFile(t, filepath.Join(root, "plain", "good", "00.png"), []byte("no image"))
	return configs.Data{Format: "folder", Root: root, Good: "good", Views: 1, Fit: "squash", Resize: configs.Square(4), Crop: configs.Square(4), Prefetch: 1}
}

// TestSurvey: images of 12 bits in the lower half of 16, and orientations that are not applied, are found in a sample.
// Values of 12 bits that begin at the upper end use all 16.
func TestSurvey(t *testing.T) {
	cfg := deepSet(t)
	for name, tt := range map[string]struct {
		bits  string
		exif  bool
		want  []string
		depth Depths
	}{
		"default": {"16", false, []string{
			"low: of 16 training images looked at, 16 have 16 bits and values up to 3800, which are dark if read as values of 16 bits (data.bits: 12 or auto reads them in full)",
			"upper: of 16 training images looked at, 16 have an EXIF orientation that is not applied (data.exif: true applies it)"}, nil},
		"12": {"12", true, nil, nil},
		"auto": {"auto", true, []string{
			"low: of 16 training images looked at, 16 have 16 bits and values up to 3800, which are read as values of 12 bits (data.bits: auto)",
			"upper: of 16 training images looked at, 16 have 16 bits and values up to 65520, which are read as values of 16 bits (data.bits: auto)"},
			Depths{"low": 12, "upper": 16}},
	} {
		cfg.Bits, cfg.Exif = tt.bits, tt.exif
		set := opened(t, cfg)
		if have := set.Survey(); !slices.Equal(have, tt.want) {
			t.Errorf("%s: have %q, want %q", name, have, tt.want)
		}
		if !maps.Equal(set.Source.Depths, tt.depth) {
			t.Errorf("%s: have depths %v, want %v", name, set.Source.Depths, tt.depth)
		}
	}
}

// TestDepthsOfModel: the depths of a model take the place of those found, and a class that the model does not know has
// the depth that all share.
func TestDepthsOfModel(t *testing.T) {
	cfg := deepSet(t)
	cfg.Bits = "auto"
	set := opened(t, cfg)
	bits := func() map[string]int {
		found := map[string]int{}
		for _, o := range set.Train {
			found[o.Class] = o.Views[0].Bits
		}
		return found
	}
	for _, tt := range []struct {
		model Depths
		want  map[string]int
	}{
		{nil, map[string]int{"low": 12, "upper": 16, "plain": unknownBits}},
		{Depths{"low": 14}, map[string]int{"low": 14, "upper": 14, "plain": 14}},
		{Depths{}, map[string]int{"low": 16, "upper": 16, "plain": 16}},
		{Depths{"low": 12, "x": 10}, map[string]int{"low": 12, "upper": unknownBits, "plain": unknownBits}},
	} {
		set.UseDepths(tt.model)
		if have := bits(); !maps.Equal(have, tt.want) {
			t.Errorf("%v: have %v, want %v", tt.model, have, tt.want)
		}
	}
	cfg.Bits = "12"
	set = opened(t, cfg)
	set.UseDepths(Depths{"low": 14})
	if have := set.Train[0].Views[0].Bits; have != 0 {
		t.Errorf("without auto: have %d bits of a view, want those of the configuration", have)
	}
}

// TestDepthsInCache: a cache has the depth of each 16-bit image, also when the files are gone, and is refused for another
// depth, which prepare mends. Images of 8 bits do not mind.
func TestDepthsInCache(t *testing.T) {
	cfg := deepSet(t)
	cfg.Cache, cfg.Bits = t.TempDir(), "auto"
	if err := os.Remove(filepath.Join(cfg.Root, "plain", "good", "00.png")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	set := opened(t, cfg)
	want := set.Survey()
	if len(want) != 3 || set.Source.Depths["low"] != 12 {
		t.Fatalf("have %q and %v", want, set.Source.Depths)
	}
	pixels := make([]uint8, 48)
	if err := fitView(set.Source, set.Train[19].Views[0], pixels); err != nil || pixels[15] != 3900>>4 {
		t.Errorf("have %v and error %v", pixels[:16], err)
	}
	set.UseDepths(Depths{"low": 14})
	wantError(t, fitView(set.Source, set.Train[0].Views[0], pixels), "data.cache", "00.png was prepared as an image of 12 bits, want 14 (data.bits)")
	other := cfg
	other.Bits = "13"
	_, err := Open(other)
	wantError(t, err, "data.cache", "was prepared as an image of 12 bits, want 13 (data.bits)")
	other.Classes = []string{"plain"}
	if _, err := Open(other); err != nil {
		t.Error(err)
	}
	other.Bits, other.Classes = "16", nil
	if _, _, err := prepare(t, t.Context(), other); err != nil {
		t.Fatal(err)
	}
	opened(t, other)
	if _, _, err := prepare(t, t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(cfg.Root, cfg.Root+"-away"); err != nil {
		t.Fatal(err)
	}
	if have := opened(t, cfg).Survey(); !slices.Equal(have, want) {
		t.Errorf("without files: have %q, want %q", have, want)
	}
}

// TestCheckBits: a class whose 16-bit images all need fewer bits is a finding; a dark image among others is not.
func TestCheckBits(t *testing.T) {
	cfg := deepSet(t)
	writeFile(t, filepath.Join(cfg.Root, "upper", "good", "05.png"), pngBytes(t, deep(0, 9)))
	for bits, want := range map[string]int{"16": 20, "14": 20, "12": 0, "auto": 0} {
		cfg.Bits = bits
		set := opened(t, cfg)
		found, err := Check(t.Context(), set, set.Source.Fit, checkOptions)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range found.Classes {
			lines := c.Findings[UnusedBits]
			if len(c.Findings[Unreadable]) > 1 { // upper has more than 12 or 14 bits
				continue
			}
			if c.Class != "low" && len(lines) > 0 || c.Class == "low" && len(lines) != want {
				t.Errorf("%s: %s: have %q", bits, c.Class, lines)
			}
			if c.Class == "low" && want > 0 && !strings.HasSuffix(lines[0], "00.png: values up to 2000; the class needs 12 of "+bits+" bits") {
				t.Errorf("%s: have %q", bits, lines[0])
			}
		}
	}
}

// TestTruncatedDeepPNG: a PNG of 16 bits that is cut anywhere is an error, also at another depth.
func TestTruncatedDeepPNG(t *testing.T) {
	data := pngBytes(t, deep(0, 4095))
	for n := range len(data) - 12 { // the end marker says nothing
		if _, err := (Fit{Bits: 12}).decode(new(scratch), data[:n], maxPixels); err == nil {
			t.Fatalf("cut at byte %d of %d: have no error", n, len(data))
		}
	}
}

// TestNotesOfDepths: 16-bit images are odd if none of those that are read at the same number of bits needs that many.
func TestNotesOfDepths(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, high int) View {
		path := filepath.Join(dir, name)
		writeFile(t, path, pngBytes(t, deep(0, high)))
		return View{Path: path}
	}
	dark, dim, full := write("b.png", 1023), write("a.png", 4000), write("full.png", 60000)
	writeFile(t, filepath.Join(dir, "8.png"), pngBytes(t, texture(4, 4)))
	plain := View{Path: filepath.Join(dir, "8.png")}
	at := func(v View, bits int) View { v.Bits = bits; return v }
	for _, tt := range []struct {
		name  string
		looks bool
		views []View
		want  map[Finding]Noted
	}{
		{"8 bits", true, []View{plain}, map[Finding]Noted{}},
		{"12 of 16 bits", true, []View{dark, plain, dim, dark}, map[Finding]Noted{UnusedBits: {Files: 2, First: dim.Path}}},
		{"not looked at", false, []View{dark, dim}, map[Finding]Noted{}},
		{"dark among others", true, []View{dark, full}, map[Finding]Noted{}},
		{"each depth alone", true, []View{at(dark, 12), full, at(dark, 10)}, map[Finding]Noted{UnusedBits: {Files: 1, First: dark.Path}}},
		{"two depths", true, []View{at(dark, 12), dim}, map[Finding]Noted{UnusedBits: {Files: 2, First: dim.Path}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configs.Default().Data
			s := NewSource(cfg)
			s.Notes = &Notes{Depths: tt.looks}
			for _, v := range tt.views {
				if _, _, err := s.Image(v, make([]uint8, 3*cfg.Crop.Area())); err != nil {
					t.Fatal(err)
				}
			}
			if have := s.Notes.Summary(); !maps.Equal(have, tt.want) {
				t.Errorf("have %v, want %v", have, tt.want)
			}
		})
	}
}
