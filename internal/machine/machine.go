// Package machine reports the memory and disk space of the machine, or of the control group of the process.
package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Size formats a number of bytes in MB or GB, powers of ten.
func Size[T int64 | uint64](bytes T) string {
	if bytes < 1e9 {
		return fmt.Sprintf("%.0f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
}

// Memory is in bytes; 0 is unknown.
type Memory struct{ Total, Free uint64 }

// ReadMemory reads /proc/meminfo and the limit of the control group (version 2 or 1) that this process sees as its own.
func ReadMemory() Memory {
	m := Memory{meminfo("MemTotal"), meminfo("MemAvailable")}
	for _, group := range [][2]string{
		{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
		{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
	} {
		limit, used := number(group[0]), number(group[1])
		if limit > 0 && limit < m.Total {
			m.Total = limit
			m.Free = min(m.Free, limit-min(limit, used))
		}
	}
	return m
}

// CPU is what /proc/cpuinfo calls the first CPU, "" where it does not say.
func CPU() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, name, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// number reads a file with one number; 0 if there is none.
func number(name string) uint64 {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0 // "max"
	}
	return n
}

// meminfo returns the value of a line of /proc/meminfo in bytes.
func meminfo(key string) uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == key+":" {
			n, _ := strconv.ParseUint(fields[1], 10, 64)
			return 1024 * n
		}
	}
	return 0
}

// DiskFree returns the free space in bytes of dir, or of its nearest existing parent.
func DiskFree(dir string) (uint64, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 0, err
	}
	dir = Nearest(dir)
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// Nearest returns dir, an absolute path, or its nearest existing parent.
func Nearest(dir string) string {
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return dir
}
