package train

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// desk is memory by which the ranks of one machine pass on what they have encoded: each has room for two objects, so
// that one is read while the next is written. Gloo takes longer for features than a GPU to compute them
// (docs/format/features.md has their size).
type desk struct {
	out  *os.File // this rank's room
	size int      // of the features of an object, or a tile of it
	all  [][]byte // the room of each rank
}

// openDesk returns nil where there is only one rank, or not all see the memory of the others: features are then part of
// what they say when they meet.
func (r *run) openDesk() (*desk, error) {
	if r.team.Size() == 1 {
		return nil, nil
	}
	d := &desk{size: r.cfg.Data.Views * r.stepper.Model.PackedBytes()}
	fd, err := unix.MemfdCreate("encoded", unix.MFD_CLOEXEC)
	if err == nil {
		d.out = os.NewFile(uintptr(fd), "encoded objects in memory")
		err = d.out.Truncate(2 * int64(d.size))
	}
	mine := []byte(nil)
	if err == nil {
		mine = fmt.Appendf(nil, "%s\n/proc/%d/fd/%d", identity(), os.Getpid(), fd)
	}
	said, err := r.team.Meet(mine, nil)
	if err != nil {
		d.close()
		return nil, err
	}
	sees := []byte{1}
	for _, text := range said {
		machine, path, _ := bytes.Cut(text, []byte("\n"))
		if string(machine) != identity() || d.open(string(path)) != nil {
			sees[0] = 0
			break
		}
	}
	said, err = r.team.Meet(sees, nil)
	if err != nil || slices.ContainsFunc(said, func(s []byte) bool { return s[0] == 0 }) {
		d.close()
		return nil, err
	}
	return d, nil
}

// open maps the room of the next rank.
func (d *desk) open(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	room, err := unix.Mmap(int(f.Fd()), 0, 2*d.size, unix.PROT_READ, unix.MAP_SHARED)
	if err == nil {
		d.all = append(d.all, room)
	}
	return err
}

// put lays down what this rank has encoded for the turn, which is the number of the meeting that follows.
func (d *desk) put(turn int, features []byte) error {
	if len(features) != d.size {
		return fmt.Errorf("features: have %d bytes, want %d", len(features), d.size)
	}
	_, err := d.out.WriteAt(features, int64(turn%2*d.size))
	return err
}

// get returns what a rank has put in the turn. It is valid until the meeting after the next.
func (d *desk) get(rank, turn int) []byte { return d.all[rank][turn%2*d.size:][:d.size] }

func (d *desk) close() {
	if d == nil {
		return
	}
	for _, room := range d.all {
		_ = unix.Munmap(room) // only read: nothing can be lost
	}
	if d.out != nil {
		_ = d.out.Close()
	}
}
