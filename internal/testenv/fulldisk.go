package testenv

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// FullDisk lets the kernel refuse to let any file of the process grow beyond so many bytes, as a full disk does, until
// lift is called or the test ends. Package testing writes a log meanwhile, so that such a test runs in a process of its own
// ([InOwnProcess]) unless the limit is far above that.
func FullDisk(t testing.TB, bytes uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before)
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: before.Max})
	}
	if err != nil {
		t.Fatal(err)
	}
	lift = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

// InOwnProcess runs the test in a process of its own, where it returns true. In the caller it returns false once that has
// ended, and t has failed if it did. It is for tests that change what holds for the whole process.
func InOwnProcess(t *testing.T) bool {
	t.Helper()
	const variable = "MVAG_TEST_OWN_PROCESS"
	if os.Getenv(variable) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "PASS\n") {
		t.Errorf("%v: %s", err, out)
	}
	return false
}
