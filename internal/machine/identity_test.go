package machine

import (
	"os/exec"
	"strings"
	"testing"
)

// TestIdentity: another process of this machine has the same, as other programs see it.
func TestIdentity(t *testing.T) {
	out, err := exec.Command("sh", "-c", `echo "$(hostname) $(cat /proc/sys/kernel/random/boot_id) $(readlink /proc/self/ns/pid)"`).Output()
	if err != nil {
		t.Skip(err)
	}
	if have, want := Identity(), strings.TrimSpace(string(out)); have != want {
		t.Errorf("have %q, want %q", have, want)
	}
}
