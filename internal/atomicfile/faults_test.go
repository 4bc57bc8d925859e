package atomicfile_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/testenv"
)

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
func run(t *testing.T, root string, f testenv.Fault) (map[string]outcome, func(within string) []string) {
	for _, j := range jobs {
		dir := filepath.Join(root, j.name)
		if err := errors.Join(os.Mkdir(dir, 0o755), j.before(dir)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), jobsVariable+"="+root, "GOMAXPROCS=2")
	injected := testenv.Inject(t, cmd, f)
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
func meet(t *testing.T, f testenv.Fault) (sum testenv.Tally) {
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
			if !strings.Contains(o.Error, dir) || strings.Contains(o.Error, "\n") || len(calls) == 0 || strings.Contains(o.Error, ".mvag-") {
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
	var sum testenv.Tally
	for c, call := range calls {
		for e, errno := range errnos {
			if os.Getenv("MVAG_FAULTS") != "all" && e != c%len(errnos) {
				continue
			}
			for when := 1; ; when++ {
				one := meet(t, testenv.Fault{Call: call, Answer: "error=" + errno, When: fmt.Sprint(when)})
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
	var sum testenv.Tally
	for call, claimed := range map[string]int{"write": 1, "pwrite64": 1, "rename,renameat,renameat2": 0, "linkat,link": 0, "unlinkat,unlink": 0, "ftruncate": 0, "fsync,fdatasync": 0} {
		for when := 1; ; when++ {
			f := testenv.Fault{Call: call, Answer: fmt.Sprintf("retval=%d", claimed), When: fmt.Sprint(when)}
			n := lied(t, f, lie, &sum)
			if sum.Injected += n; n == 0 {
				break
			}
		}
	}
	sum.Log(t, "calls that lie")
}

// lied lets all jobs meet a lie, and returns how many did.
func lied(t *testing.T, f testenv.Fault, lie error, sum *testenv.Tally) (n int) {
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
