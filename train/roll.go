package train

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"mvag-torch/dataset"
)

// roll is what a rank says at the roll call before a step. Its text is short, so that one exchange is enough:
//
//	byte     1 to stop
//	uvarint  number of present flags
//	bits     the flags, the first in the lowest bit
//	then for each image left out, twice: uvarint length, text (path, why)
type roll struct {
	stop    bool              // the run shall end before this step
	present []bool            // [b·V], of this rank's part of the batch
	skipped []dataset.LeftOut // that others do not know of
}

func (c roll) encode() []byte {
	text := []byte{0}
	if c.stop {
		text[0] = 1
	}
	text = binary.AppendUvarint(text, uint64(len(c.present)))
	bits := make([]byte, (len(c.present)+7)/8)
	for i, ok := range c.present {
		if ok {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	text = append(text, bits...)
	for _, o := range c.skipped {
		for _, part := range []string{o.Path, o.Message} {
			text = append(binary.AppendUvarint(text, uint64(len(part))), part...)
		}
	}
	return text
}

// errRoll is a bug or another program: ranks have one version.
var errRoll = errors.New("a rank has said at the roll call what is none")

func decodeRoll(text []byte) (c roll, err error) {
	next := func(n uint64) []byte {
		if n > uint64(len(text)) {
			err = errRoll
			return nil
		}
		part := text[:n]
		text = text[n:]
		return part
	}
	number := func() uint64 {
		v, n := binary.Uvarint(text)
		if n <= 0 {
			err = errRoll
			return 0
		}
		next(uint64(n))
		return v
	}
	if first := next(1); err == nil {
		c.stop = first[0] == 1
	}
	n := number()
	bits := next(n/8 + min(1, n%8))
	for i := range 8 * len(bits) {
		if uint64(i) < n {
			c.present = append(c.present, bits[i/8]&(1<<(i%8)) != 0)
		}
	}
	for len(text) > 0 && err == nil {
		path := next(number())
		c.skipped = append(c.skipped, dataset.LeftOut{Path: string(path), Message: string(next(number()))})
	}
	return c, err
}

// errStop: a rank wants to stop.
var errStop = errors.New("interrupted")

// call is the roll call before the step on batch, at which all ranks come to the same decision: to take it, where it
// returns nil and batch knows what images there are everywhere, or to end the run. failure is why this rank has no
// batch.
func (r *run) call(batch *Batch, failure error) error {
	if r.team != nil {
		return r.callAll(batch, failure)
	}
	if failure == nil {
		batch.Everywhere = batch.Present
		failure = batch.check()
	}
	return failure
}

func (r *run) callAll(batch *Batch, failure error) error {
	mine := roll{stop: r.ctx.Err() != nil, skipped: r.data.Source.NewlySkipped()}
	if mine.stop { // which is why there is no batch
		failure = nil
	} else if failure == nil {
		mine.present = batch.Present
	}
	said, err := r.team.Meet(mine.encode(), cmp.Or(failure, r.trouble))
	if err != nil {
		return err
	}
	var everywhere []bool
	for rank, text := range said {
		c, err := decodeRoll(text)
		if err != nil {
			return err
		}
		r.stopping = r.stopping || c.stop
		everywhere = append(everywhere, c.present...)
		if rank == r.team.Rank() {
			continue
		}
		if err := r.data.Source.SkippedBy(c.skipped); err != nil {
			return r.team.Common(err) // all have the same images now
		}
	}
	if r.stopping {
		return errStop
	}
	batch.Everywhere = everywhere
	return r.team.Common(batch.check())
}

// check holds that there is an image to train on.
func (b *Batch) check() error {
	if slices.Contains(b.Everywhere, true) {
		return nil
	}
	return fmt.Errorf("%s: no image of this object and of the others of its batch could be read", b.Objects[0].ID)
}

// complete tells whether no image is absent, on any rank.
func (b *Batch) complete() bool {
	return !slices.Contains(b.Present, false) && !slices.Contains(b.Everywhere, false)
}

// presentCount is the number of images of all ranks.
func (b *Batch) presentCount() (n int) {
	for _, ok := range b.Everywhere {
		if ok {
			n++
		}
	}
	return n
}
