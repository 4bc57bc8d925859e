package score

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkClass computes all results of one class from maps in memory, five images an object, on all CPUs; then again
// with the good objects twice and four times, to show that memory does not grow with them. The maps are those that
// third_party/bench_metrics.py wrote into the folder MVAG_BENCH_MAPS; `make bench-metrics` does both. MB is the largest
// memory of the process beyond them, cpu-s the CPU seconds, which other programs disturb less; the ratios compare with
// what that script measured (bench.json).
func BenchmarkClass(b *testing.B) {
	folder := os.Getenv("MVAG_BENCH_MAPS")
	if folder == "" {
		b.Skip("MVAG_BENCH_MAPS names no folder of maps")
	}
	s, err := open(folder, "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	objects, pixels := load(b, s)
	var good [][]View
	goodPixels := 0
	for _, views := range objects {
		if !marked(views) {
			good = append(good, views)
			goodPixels += len(views) * len(views[0].Scores)
		}
	}
	debug.SetGCPercent(GCPercent)
	defer debug.SetGCPercent(100)
	for times := 1; times <= 4; times *= 2 {
		b.Run(fmt.Sprintf("good=x%d", times), func(b *testing.B) {
			seconds, used := benchmark(b, slices.Concat(objects, slices.Repeat(good, times-1)), pixels+(times-1)*goodPixels)
			if times == 1 {
				ratios(b, folder+"/bench.json", seconds, used)
			}
		})
	}
}

// benchmark returns the seconds and the CPU seconds of an evaluation.
func benchmark(b *testing.B, objects [][]View, pixels int) (seconds, used float64) {
	runtime.GC()
	debug.FreeOSMemory()
	before := resident(b, "VmRSS")
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // else the peak includes loading
	start := cpu(b)
	var r Result
	for b.Loop() {
		r = evaluateAll(b, objects)
		runtime.GC() // as between classes
	}
	seconds, used = b.Elapsed().Seconds()/float64(b.N), (cpu(b)-start)/float64(b.N)
	b.ReportMetric(seconds*1e9/float64(pixels), "ns/pixel")
	b.ReportMetric(used, "cpu-s/op")
	b.ReportMetric(float64(resident(b, "VmHWM")-before)/1e6, "MB")
	b.Logf("%d images, %d pixels, %d defective; %d CPUs; %v", r.Class.Images, pixels, r.Class.Details.Counts["defective_pixels"], runtime.GOMAXPROCS(0), r.Class.Values)
	return seconds, used
}

// ratios says how many times longer others take.
func ratios(b *testing.B, path string, seconds, used float64) {
	text, err := os.ReadFile(path)
	if err != nil {
		b.Log(err)
		return
	}
	type parts struct {
		Pixels, Images, ADEval float64
		Dinomaly               float64 `json:"dinomaly_aupro"`
	}
	var other struct {
		Seconds parts
		CPU     parts `json:"cpu_seconds"`
	}
	if err := json.Unmarshal(text, &other); err != nil {
		b.Fatalf("%s: %v", path, err)
	}
	for _, x := range []struct {
		name string
		parts
		mine float64
	}{{"", other.Seconds, seconds}, {"-cpu", other.CPU, used}} {
		b.ReportMetric((x.Pixels+x.Images+x.Dinomaly)/x.mine, "x-sklearn+Dinomaly"+x.name)
		b.ReportMetric(x.ADEval/x.mine, "x-ADEval"+x.name)
	}
}

// load reads the maps of a source as objects of five views.
func load(b *testing.B, s *source) (objects [][]View, pixels int) {
	// Outside the heap, so that the collector does not take the maps as a reason to be lazy.
	memory, err := unix.Mmap(-1, 0, 4*len(s.rows)*s.height*s.width, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	all := unsafe.Slice((*float32)(unsafe.Pointer(&memory[0])), len(s.rows)*s.height*s.width)
	for i := range s.rows {
		row, err := s.maps.Read(i, nil)
		if err != nil {
			b.Fatal(err)
		}
		scores := all[:len(row):len(row)]
		all = all[len(row):]
		copy(scores, row)
		mask, _, err := s.mask(i)
		if err != nil {
			b.Fatal(err)
		}
		v := View{Camera: 1 + i%5, Path: strconv.Itoa(i), Height: s.height, Width: s.width, Scores: scores}
		for _, defective := range mask {
			if defective {
				v.Code, v.Defective, v.Mask = "AK", true, mask
				break
			}
		}
		if i%5 == 0 {
			objects = append(objects, nil)
		}
		objects[len(objects)-1] = append(objects[len(objects)-1], v)
		pixels += len(scores)
	}
	return objects, pixels
}

func evaluateAll(b *testing.B, objects [][]View) Result {
	c := NewClass("bench", Options{Top: 0.01, AuproLimit: 0.3})
	for _, phase := range []bool{true, false} {
		var places []int
		for i, views := range objects {
			if marked(views) == phase {
				places = append(places, i)
			}
		}
		err := Each(b.Context(), len(places), func(i int) error {
			_, err := c.Add(places[i], fmt.Sprint(places[i]), objects[places[i]])
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		c.Seal()
	}
	r, err := c.Finish()
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func marked(views []View) bool {
	for _, v := range views {
		if v.Defective {
			return true
		}
	}
	return false
}

// cpu is the CPU time so far in seconds.
func cpu(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// resident reads a line of /proc/self/status in bytes.
func resident(b *testing.B, name string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == name+":" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return 1024 * kb
		}
	}
	b.Skipf("/proc/self/status has no %s", name)
	return 0
}
