package dataset

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mvag-torch/configs"
	"mvag-torch/internal/libjpeg"
	"mvag-torch/internal/testenv"
)

// photo writes the 1024 x 1024 centre of the largest golden photograph as a JPEG of quality 92, the size of Real-IAD's
// images.
func photo(b testing.TB) string {
	f, err := os.Open(testenv.Shared(b, "golden/preprocess/large.jpg"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	img, err := jpeg.Decode(f)
	if err != nil {
		b.Fatal(err)
	}
	centre := img.(*image.YCbCr).SubImage(image.Rect(192, 192, 1216, 1216))
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, centre, &jpeg.Options{Quality: 92}); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "photo.jpg")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// TestWritePhoto writes the photograph where third_party/bench_loader.py wants it.
func TestWritePhoto(t *testing.T) {
	path := os.Getenv("MVAG_BENCH_WRITE")
	if path == "" {
		t.Skip("for third_party/bench_loader.py")
	}
	data, err := os.ReadFile(photo(t))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, data)
}

// BenchmarkOneCore reads an image from its file, decoded in both ways, and from a cache, for
// third_party/bench_loader.py. The image is MVAG_BENCH_PICTURE, or else the photograph above.
func BenchmarkOneCore(b *testing.B) {
	path := os.Getenv("MVAG_BENCH_PICTURE")
	if path == "" {
		path = photo(b)
	}
	root := b.TempDir()
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	const copies = 64 // more pixels than the CPU cache has room for
	for i := range copies {
		writeFile(b, filepath.Join(root, "good", fmt.Sprintf("%d.jpg", i)), data)
	}
	cfg := configs.Data{Format: "folder", Root: root, Good: "good", Views: 1, Fit: "squash", Resize: configs.Square(448), Crop: configs.Square(392), Cache: b.TempDir()}
	if _, _, err := prepare(b, b.Context(), cfg); err != nil {
		b.Fatal(err)
	}
	set := opened(b, cfg)
	dst := make([]uint8, 3*392*392)
	run := func(name string, source Source) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i, before := 0, cpuTime(b)
			for b.Loop() {
				if err := fitView(source, set.Train[i%copies].Views[0], dst); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(i), "cpu-ns/op")
		})
	}
	run("exact", Source{Fit: goldenFit})
	if libjpeg.Available {
		run("scaled", Source{Fit: Fit{Resize: configs.Square(448), Crop: configs.Square(392), Scaled: true}})
	}
	run("cache", set.Source)
}

// BenchmarkTiles measures a photograph of 2048 x 1536 pixels in 20 tiles of 448, from a JPEG and from a cache: all tiles
// at once, as in evaluation and where features are computed, and one, as in training.
func BenchmarkTiles(b *testing.B) {
	root := b.TempDir()
	writeFile(b, filepath.Join(root, "good", "p.jpg"), jpegBytes(b, texture(2048, 1536)))
	cfg := configs.Data{Format: "folder", Root: root, Good: "good", Views: 1, Cache: b.TempDir(),
		Fit: Tiles, Resize: configs.Size{1344, 1792}, Crop: configs.Square(448), Overlap: 0.25}
	if _, _, err := prepare(b, b.Context(), cfg); err != nil {
		b.Fatal(err)
	}
	set := opened(b, cfg)
	all := make([]uint8, set.Source.Fit.imageBytes(0))
	for from, source := range map[string]Source{"file": {Fit: set.Source.Fit}, "cache": set.Source} {
		for name, tile := range map[string]int{"all": 0, "one": 12} {
			b.Run(from+"/"+name, func(b *testing.B) {
				v := set.Train[0].Views[0]
				v.Tile = tile
				for b.Loop() {
					if err := fitView(source, v, all[:source.Fit.imageBytes(tile)]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// cpuTime returns the CPU time of this process in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
