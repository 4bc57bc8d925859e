package atomicfile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/safetensors"
	"mvag-torch/internal/testdata"
	"mvag-torch/model/checkpoint"
	"mvag-torch/serve/journal"
	"mvag-torch/train/feature"
)

// job is something that writes files. Where a system call fails in the middle, what was there or what was to be there is
// there, whole.
type job struct {
	name   string
	before func(dir string) error // what was there; without faults
	act    func(dir string) error // meets the fault
	// check looks for what should not be, after act returned e: refused is why a file cannot be read, and wrong what was
	// read and is not so, "" for nothing.
	check func(dir string, e error) (wrong string, refused error)
}

const old, new = "old content", "the new content"

func tensors(value float32) []safetensors.Tensor {
	return []safetensors.Tensor{safetensors.Float32("x", []int64{3}, []float32{value, 2, 3})}
}

func writeCheckpoint(dir string, iteration int) error {
	return checkpoint.Write(filepath.Join(dir, "checkpoint.safetensors"), checkpoint.Info{Config: configs.Default(), Iteration: iteration}, tensors(float32(iteration)))
}

var jobs = []job{
	{"atomicfile.Write",
		func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte(old), 0o644) },
		func(dir string) error {
			return atomicfile.Write(filepath.Join(dir, "a"), func(w io.Writer) error { _, err := io.WriteString(w, new); return err })
		},
		func(dir string, e error) (wrong string, refused error) {
			text, err := os.ReadFile(filepath.Join(dir, "a"))
			if err == nil && string(text) != new && (e == nil || string(text) != old) {
				wrong = fmt.Sprintf("have %q", text)
			}
			return wrong, err
		}},
	{"safetensors.Write",
		func(dir string) error { return safetensors.Write(filepath.Join(dir, "b.safetensors"), tensors(1), nil) },
		func(dir string) error { return safetensors.Write(filepath.Join(dir, "b.safetensors"), tensors(2), nil) },
		func(dir string, e error) (wrong string, refused error) {
			f, err := safetensors.Open(filepath.Join(dir, "b.safetensors"))
			if err != nil {
				return "", err
			}
			defer f.Close()
			have, err := f.Float32("x")
			if err == nil && have[0] != 2 && (e == nil || have[0] != 1) {
				wrong = fmt.Sprintf("have %v", have)
			}
			return wrong, err
		}},
	{"checkpoint.Write", func(dir string) error { return errors.Join(writeCheckpoint(dir, 1), writeCheckpoint(dir, 2)) },
		func(dir string) error { return writeCheckpoint(dir, 3) }, checkCheckpoint},
	{"feature.Store", func(dir string) error { return putFeatures(dir, 1) }, func(dir string) error { return putFeatures(dir, 2) }, checkFeatures},
	{"dataset.Prepare", func(dir string) error { return writeImages(dir) }, prepareImages, checkImages},
	{"journal", func(dir string) error { return appendEntries(dir, "one") }, func(dir string) error { return appendEntries(dir, "two") }, checkJournal},
}

// checkCheckpoint wants the latest or the one before it, and nothing that is not whole under either name.
func checkCheckpoint(dir string, e error) (wrong string, refused error) {
	path := filepath.Join(dir, "checkpoint.safetensors")
	f, why, err := checkpoint.OpenLast(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if it := f.Info.Iteration; it != 3 && (e == nil || it != 2) {
		return fmt.Sprintf("have iteration %d (%v)", it, why), nil
	}
	before, err := checkpoint.Open(checkpoint.Previous(path))
	if err == nil {
		defer before.Close()
		if it := before.Info.Iteration; e == nil && it != 2 {
			return fmt.Sprintf("have iteration %d before", it), nil
		}
	} else if e == nil || !errors.Is(err, fs.ErrNotExist) { // it may have gone while its successor was to take its place
		return "", err
	}
	return "", nil
}

var featuresHeader = feature.Header{Backbone: "abc", Layers: []int{1}, Views: 2, ViewBytes: 3000}

func putFeatures(dir string, n byte) error {
	s, err := feature.OpenFile(context.Background(), filepath.Join(dir, "features"), featuresHeader, nil)
	if err != nil {
		return err
	}
	err = s.Put(feature.Key{n}, []bool{true, true}, bytes.Repeat([]byte{n}, 6000), true)
	if err == nil {
		err = s.Seal()
	}
	return errors.Join(err, s.Close())
}

// checkFeatures wants the first record, and the second whole or damaged or not there, but nothing else for it.
func checkFeatures(dir string, e error) (wrong string, refused error) {
	s, err := feature.OpenFile(context.Background(), filepath.Join(dir, "features"), featuresHeader, nil)
	if err == nil {
		err = s.Seal()
	}
	if err != nil {
		return "", err
	}
	defer s.Close()
	for n := byte(1); n < 3; n++ {
		features := make([]byte, 6000)
		err := s.Read(feature.Key{n}, make([]bool, 2), features)
		whole := err == nil && bytes.Equal(features, bytes.Repeat([]byte{n}, 6000))
		lost := !s.Has(feature.Key{n}) || errors.Is(err, feature.ErrDamaged)
		if !whole && (n == 1 || e == nil || !lost) {
			return fmt.Sprintf("record %d: have %v", n, err), nil
		}
	}
	return "", nil
}

func imageConfig(dir string) configs.Data {
	return configs.Data{Format: "table", Root: filepath.Join(dir, "images"), Table: "list.csv", Views: 1, Fit: "squash",
		Resize: configs.Square(8), Crop: configs.Square(6), Cache: filepath.Join(dir, "cache"), Workers: 1}
}

func writeImages(dir string) error {
	root := imageConfig(dir).Root
	err := os.MkdirAll(root, 0o755)
	list := "object,camera,path,split,label\n"
	for i := range 3 {
		img := image.NewGray(image.Rect(0, 0, 9, 9))
		for j := range img.Pix {
			img.Pix[j] = uint8(i * j)
		}
		var text bytes.Buffer
		name := fmt.Sprintf("%d.png", i)
		err = errors.Join(err, png.Encode(&text, img), os.WriteFile(filepath.Join(root, name), text.Bytes(), 0o644))
		list += fmt.Sprintf("%d,1,%s,train,good\n", i, name)
	}
	return errors.Join(err, os.WriteFile(filepath.Join(root, "list.csv"), []byte(list), 0o644))
}

func prepareImages(dir string) error {
	cfg := imageConfig(dir)
	cfg.Cache = ""
	set, err := dataset.Open(cfg)
	if err != nil {
		return err
	}
	return dataset.Prepare(context.Background(), imageConfig(dir), set, dataset.PrepareOptions{})
}

// checkImages prepares what is missing, and compares all pixels with those of the files.
func checkImages(dir string, e error) (wrong string, refused error) {
	cfg := imageConfig(dir)
	files := cfg
	files.Cache = ""
	from, err := dataset.Open(files)
	var cached *dataset.Set
	if err == nil && e != nil {
		err = prepareImages(dir)
	}
	if err == nil {
		cached, err = dataset.Open(cfg)
	}
	if err != nil {
		return "", err
	}
	defer cached.Source.Cache.Close()
	for _, o := range cached.Train {
		a, b := make([]uint8, 3*6*6), make([]uint8, 3*6*6)
		_, _, err := cached.Source.Image(o.Views[0], a)
		if err == nil {
			_, _, err = from.Source.Image(o.Views[0], b)
		}
		if err != nil || !bytes.Equal(a, b) {
			return fmt.Sprintf("%s: the pixels differ, error %v", o.ID, err), nil
		}
	}
	return "", nil
}

func openJournal(dir string) (*journal.Journal, error) {
	return journal.Open(filepath.Join(dir, "journal.db"), journal.Options{To: []string{"lines"}})
}

func appendEntries(dir, key string) error {
	j, err := openJournal(dir)
	if err != nil {
		return err
	}
	_, _, err = j.Append(key, func(string) ([]byte, error) { return []byte("record " + key), nil })
	return errors.Join(err, j.Close())
}

// checkJournal wants the first entry, and the second unless it failed.
func checkJournal(dir string, e error) (wrong string, refused error) {
	j, err := openJournal(dir)
	if err != nil {
		return "", err
	}
	defer j.Close()
	for _, key := range []string{"one", "two"} {
		entry, ok, err := j.ByKey(key)
		if err != nil {
			return "", err
		}
		if ok && string(entry.Data) != "record "+key || !ok && (key == "one" || e == nil) {
			return fmt.Sprintf("entry %q: have %q, %v", key, entry.Data, ok), nil
		}
	}
	return "", nil
}

// outcome is what act of a job returned.
type outcome struct {
	Failed bool
	Error  string
}

const jobsVariable = "MVAG_TEST_JOBS"

// init keeps the first goroutine on the first thread, whose system calls other goroutines then do not make.
func init() { runtime.LockOSThread() }

// TestMain runs the jobs, in folders of the folder that jobsVariable names, where a test wants them to meet a fault: each
// on a thread of its own, since strace counts the calls of each thread from its start.
func TestMain(m *testing.M) {
	root := os.Getenv(jobsVariable)
	if root == "" {
		os.Exit(m.Run())
	}
	outcomes := map[string]outcome{}
	for _, j := range jobs {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends
			done <- j.act(filepath.Join(root, j.name))
		}()
		if err := <-done; err != nil {
			outcomes[j.name] = outcome{true, err.Error()}
		} else {
			outcomes[j.name] = outcome{}
		}
	}
	text, _ := json.Marshal(outcomes)
	if _, err := unix.Writev(1, [][]byte{text}); err != nil { // no fault is for this call
		os.Exit(1)
	}
	os.Exit(0)
}

var temporary = regexp.MustCompile(`\.mvag-[0-9a-f]{16}\.tmp$`)

// run lets all jobs meet a fault in folders of root. It returns what came of each, and the calls that failed.
func run(t *testing.T, root string, f testdata.Fault) (map[string]outcome, func(within string) []string) {
	for _, j := range jobs {
		dir := filepath.Join(root, j.name)
		if err := errors.Join(os.Mkdir(dir, 0o755), j.before(dir)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), jobsVariable+"="+root, "GOMAXPROCS=2")
	injected := testdata.Inject(t, cmd, f)
	out, err := cmd.Output()
	outcomes := map[string]outcome{}
	if err == nil {
		err = json.Unmarshal(out, &outcomes)
	}
	if err != nil {
		t.Fatalf("%v: %v: %s", f, err, out)
	}
	return outcomes, injected
}

// meet lets all jobs meet a fault, and checks what is left.
func meet(t *testing.T, f testdata.Fault) (sum testdata.Tally) {
	root := t.TempDir()
	outcomes, injected := run(t, root, f)
	for _, j := range jobs {
		dir, o := filepath.Join(root, j.name), outcomes[j.name]
		calls := injected(dir)
		sum.Injected += len(calls)
		var e error
		if o.Failed {
			e = errors.New(o.Error)
			sum.Refused++
			if !strings.Contains(o.Error, dir) || strings.Contains(o.Error, "\n") || len(calls) == 0 || temporary.MatchString(o.Error) {
				t.Errorf("%v: %s: have %q for %q, want one line that names its file", f, j.name, o.Error, calls)
			}
		}
		if left := temporaries(t, dir); len(left) > 0 && !strings.HasPrefix(f.Call, "unlink") {
			t.Errorf("%v: %s: have %q left over", f, j.name, left)
		}
		if wrong, err := j.check(dir, e); wrong != "" || err != nil {
			sum.Lost++
			t.Errorf("%v: %s: after %v: %s %v", f, j.name, e, wrong, err)
		}
		if atomicfile.Sweep(dir); len(temporaries(t, dir)) > 0 {
			t.Errorf("%v: %s: have %q after a sweep", f, j.name, temporaries(t, dir))
		}
	}
	return sum
}

func temporaries(t *testing.T, dir string) (list []string) {
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if temporary.MatchString(path) {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return list
}

// Faults of TestFaults.
var (
	calls = []string{"openat", "write", "pwrite64", "fsync,fdatasync", "rename,renameat,renameat2", "linkat,link", "unlinkat,unlink", "mkdirat,mkdir",
		"close", "read", "pread64", "ftruncate", "flock", "fstat", "newfstatat", "getdents64"}
	errnos = []string{"EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE"}
)

// TestFaults lets each system call that files are written with fail, one after the other. Then the old or the new file
// is there, whole, the error is one line that names the file, and no temporary file is left, or the next sweep takes it.
// It does so with one error for each call, and with MVAG_FAULTS=all with all of them.
func TestFaults(t *testing.T) {
	var sum testdata.Tally
	for c, call := range calls {
		for e, errno := range errnos {
			if os.Getenv("MVAG_FAULTS") != "all" && e != c%len(errnos) {
				continue
			}
			for when := 1; ; when++ {
				one := meet(t, testdata.Fault{Call: call, Answer: "error=" + errno, When: fmt.Sprint(when)})
				sum.Injected, sum.Refused, sum.Lost = sum.Injected+one.Injected, sum.Refused+one.Refused, sum.Lost+one.Lost
				if one.Injected == 0 {
					break
				}
			}
		}
	}
	sum.Log(t, "calls that write files")
}

// TestLies lets calls claim what was not done: one byte of a write instead of none, a rename, a link. Nobody notices then,
// but what has a checksum is refused when it is read, or made good: wrong content is never taken for right.
func TestLies(t *testing.T) {
	lie := errors.New("a call that was not made")
	var sum testdata.Tally
	for call, claimed := range map[string]int{"write": 1, "pwrite64": 1, "rename,renameat,renameat2": 0, "linkat,link": 0, "unlinkat,unlink": 0, "ftruncate": 0, "fsync,fdatasync": 0} {
		for when := 1; ; when++ {
			f := testdata.Fault{Call: call, Answer: fmt.Sprintf("retval=%d", claimed), When: fmt.Sprint(when)}
			n := lied(t, f, lie, &sum)
			if sum.Injected += n; n == 0 {
				break
			}
		}
	}
	sum.Log(t, "calls that lie")
}

// lied lets all jobs meet a lie, and returns how many did.
func lied(t *testing.T, f testdata.Fault, lie error, sum *testdata.Tally) (n int) {
	root := t.TempDir()
	_, injected := run(t, root, f)
	for _, j := range jobs[2:] { // the others have no checksum
		dir := filepath.Join(root, j.name)
		n += len(injected(dir))
		switch wrong, err := j.check(dir, lie); {
		case wrong != "":
			sum.Lost++
			t.Errorf("%v: %s: %s", f, j.name, wrong)
		case err != nil && (!strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%v: %s: have %q, want one line that names the file", f, j.name, err)
		case err != nil:
			sum.Refused++
		case len(injected(dir)) > 0:
			sum.Repaired++
		}
		atomicfile.Sweep(dir)
		if left := temporaries(t, dir); len(left) > 0 {
			t.Errorf("%v: %s: have %q after a sweep", f, j.name, left)
		}
	}
	return n
}
