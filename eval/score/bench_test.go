package score

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkClass computes all results of one class from maps in memory, five
// pictures an object, on all processors. The maps are those that
// third_party/bench_metrics.py wrote into the folder MVAG_BENCH_MAPS; `make
// bench-metrics` does both. MB is the largest memory of the process beyond them,
// cpu-s the seconds of all processors, which other programs disturb less.
func BenchmarkClass(b *testing.B) {
	folder := os.Getenv("MVAG_BENCH_MAPS")
	if folder == "" {
		b.Skip("MVAG_BENCH_MAPS names no folder of maps")
	}
	s, err := open(folder + "/bench")
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	views, pixels := load(b, s)
	debug.SetGCPercent(GCPercent)
	defer debug.SetGCPercent(100)
	runtime.GC()
	debug.FreeOSMemory()
	before := resident(b, "VmRSS")
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // else the peak includes loading
	used := cpu(b)
	var r Result
	for b.Loop() {
		r = evaluateAll(b, views)
		runtime.GC() // as between classes
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(pixels), "ns/pixel")
	b.ReportMetric((cpu(b)-used)/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(resident(b, "VmHWM")-before)/1e6, "MB")
	b.Logf("%d pictures, %d pixels, %d defective; %d processors; %v", r.Class.Pictures, pixels, r.Class.Details.Counts["defective_pixels"], runtime.GOMAXPROCS(0), r.Class.Values)
}

// load reads the maps of a source as objects of five views.
func load(b *testing.B, s *source) (objects [][]View, pixels int) {
	// Outside the heap, so that the collector does not take the maps as a reason
	// to be lazy.
	memory, err := unix.Mmap(-1, 0, 4*len(s.rows)*s.maps.Row(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	all := unsafe.Slice((*float32)(unsafe.Pointer(&memory[0])), len(s.rows)*s.maps.Row())
	for i := range s.rows {
		row, err := s.maps.Read(i, nil)
		if err != nil {
			b.Fatal(err)
		}
		scores := all[:len(row):len(row)]
		all = all[len(row):]
		copy(scores, row)
		mask, err := s.mask(i)
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
		err := each(b.Context(), len(places), func(i int) error {
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

// cpu is the time of all processors so far in seconds.
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
