package team

import (
	"encoding/binary"
	"fmt"
	"slices"

	"mvag-torch/internal/tensor"
)

// A frame is what a rank says when all meet: how long its text is, whether that is why it fails, and the text itself
// where it fits.
const (
	frameBytes = 256
	frameHead  = 5
)

// Meet waits for all ranks and returns what each of them has to say, in the order of ranks. Where one has failed, all
// fail: failure is that of this rank, which it returns, and others return a *[Failure]. Of several that have failed, the
// first counts. It is called by all ranks in the same order, on any goroutine, and does not wait for the device. What
// others say may be empty, too.
func (t *Team) Meet(mine []byte, failure error) ([][]byte, error) {
	if t == nil {
		return [][]byte{mine}, failure
	}
	frame := make([]byte, frameBytes)
	if failure != nil {
		mine, frame[4] = []byte(failure.Error()), 1
	}
	binary.LittleEndian.PutUint32(frame, uint32(len(mine)))
	copy(frame[frameHead:], mine)
	var said [][]byte
	var failed []int
	err := tensor.Run(func(*tensor.Scope) error {
		frames := t.group.Exchange(frame)
		longest := 0
		for rank, f := range frames {
			n := int(binary.LittleEndian.Uint32(f))
			longest = max(longest, n)
			if f[4] != 0 {
				failed = append(failed, rank)
			}
			said = append(said, f[frameHead:min(frameHead+n, frameBytes)])
		}
		if longest <= frameBytes-frameHead {
			return nil
		}
		for rank, text := range t.group.Exchange(append(slices.Clone(mine), make([]byte, longest-len(mine))...)) {
			said[rank] = text[:binary.LittleEndian.Uint32(frames[rank])]
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case failed != nil && failed[0] == t.place.Rank:
		return nil, t.own(failure)
	case failed != nil:
		return nil, &Failure{Rank: failed[0], Host: t.members[failed[0]].Host, Text: string(said[failed[0]]), Quiet: true}
	}
	return said, nil
}

// Fact is something that all ranks have to agree on.
type Fact struct{ Name, Value string }

// Agree compares facts, which all ranks name in the same order, with those of rank 0. The error of all ranks names the
// first that differs.
func (t *Team) Agree(facts ...Fact) error {
	if t == nil {
		return nil
	}
	for _, f := range facts {
		said, err := t.Meet([]byte(f.Value), nil)
		if err != nil {
			return err
		}
		for rank, value := range said {
			if string(value) != string(said[0]) {
				return t.refuse(rank, f.Name, fmt.Sprintf("%q", value), fmt.Sprintf("%q", said[0]))
			}
		}
	}
	return nil
}
