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
	"mvag-torch/internal/testdata"
)

// photo writes the 1024 x 1024 centre of the largest golden photograph as a JPEG of quality 92, the size of Real-IAD's
// images.
func photo(b testing.TB) string {
	f, err := os.Open(testdata.Shared(b, "golden/preprocess/large.jpg"))
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

// cpuTime returns the CPU time of this process in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
