package machine

import (
	"os"
	"strings"
)

// Identity is the same for processes that see each other's open files below /proc: those of one system with the same
// numbers of processes, which those of two containers are not.
func Identity() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = nil
	}
	host, _ := os.Hostname() // "" will do: it only tells apart what has no other number
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		space = ""
	}
	return strings.Join([]string{host, strings.TrimSpace(string(boot)), space}, " ")
}
