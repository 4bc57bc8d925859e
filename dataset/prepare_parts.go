package dataset

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/lock"
	"mvag-torch/internal/regularfile"
)

// begin makes, locks and cleans the folder, in part 0.
func (p *preparer) begin() (unlock func(), err error) {
	unlock = func() {}
	if p.opt.Part > 0 {
		return unlock, nil
	}
	if err := os.MkdirAll(p.cfg.Cache, 0o755); err != nil {
		return unlock, fmt.Errorf("data.cache: %w", oneLine(err))
	}
	own, err := lock.Take(filepath.Join(p.cfg.Cache, "lock"), printable(p.cfg.Cache))
	if err != nil {
		return unlock, fmt.Errorf("data.cache: %w", err)
	}
	p.warning = own.Warning()
	return own.Release, p.clean()
}

// agree checks that all parts see the same folder and have planned the same, or failed as err says. Part 0 finds the plan
// of each of the others in a file of the folder, and tells what is wrong.
func (p *preparer) agree(shards [][]prepareTask, err error) error {
	if p.opt.Parts == 1 {
		return err
	}
	mine, written := p.summary(shards), error(nil)
	if p.opt.Part > 0 {
		if err != nil {
			mine = err.Error()
		}
		name := p.mark(p.opt.Part)
		if written = atomicfile.Write(name, func(w io.Writer) error { _, err := io.WriteString(w, mine); return err }); errors.Is(written, fs.ErrNotExist) {
			written = p.notShared(p.opt.Part)
		}
		defer os.Remove(name) // what cannot be removed, the next preparation removes
		err = nil
	}
	if err := p.opt.Meet(written); err != nil {
		return err
	}
	for part := 1; part < p.opt.Parts && p.opt.Part == 0 && err == nil; part++ {
		theirs, failed := regularfile.Read(p.mark(part), 64<<10)
		switch {
		case errors.Is(failed, fs.ErrNotExist):
			err = p.notShared(part)
		case failed != nil:
			err = fmt.Errorf("data.cache: %w", oneLine(failed))
		case string(theirs) != mine:
			err = fmt.Errorf("data.cache: rank %d would prepare something else than rank 0 (%s): have %s, want %s",
				part, printable(p.cfg.Cache), printable(string(theirs)), mine)
		}
	}
	return p.opt.Meet(err)
}

// mark is the file by which part 0 finds another part.
func (p *preparer) mark(part int) string {
	return filepath.Join(p.cfg.Cache, fmt.Sprintf(".part-%d", part))
}

func (p *preparer) notShared(part int) error {
	return fmt.Errorf("data.cache: rank %d does not see the folder %s of rank 0; want one that all hosts share, or prepare on each host by itself",
		part, printable(p.cfg.Cache))
}

// summary identifies a plan.
func (p *preparer) summary(shards [][]prepareTask) string {
	hash := sha256.New() // writing to it never fails
	for _, name := range p.drop {
		fmt.Fprintf(hash, "%q\n", filepath.Base(name))
	}
	for i, tasks := range shards {
		for _, t := range tasks {
			fmt.Fprintf(hash, "%d %+v %d\n", i, t.key, t.Offset)
		}
	}
	return fmt.Sprintf("%d shards from %d on of plan %x", len(shards), p.next, hash.Sum(nil)[:8])
}

// round writes the shard of this part among those that are written at the same time. Progress takes the other parts to
// be as far as this one.
func (p *preparer) round(ctx context.Context, shards [][]prepareTask) error {
	if p.opt.Part >= len(shards) {
		return context.Cause(ctx)
	}
	tasks, all, own := shards[p.opt.Part], 0, 0
	for _, other := range shards {
		all += len(other)
	}
	return p.shard(ctx, p.shardName(p.opt.Part), tasks, func(done int) {
		own += done
		if p.opt.Progress != nil {
			p.opt.Progress(p.done+own*all/len(tasks), p.total)
		}
	})
}

// learn ends a round: part 0 learns which files the others could not read.
func (p *preparer) learn(shards [][]prepareTask) error {
	for part, tasks := range shards {
		if p.done += len(tasks); p.opt.Part > 0 || part == 0 {
			continue
		}
		if err := p.skipped(p.shardName(part), tasks); err != nil {
			return err
		}
	}
	p.next += len(shards)
	return nil
}

// skipped leaves out what another part has left out.
func (p *preparer) skipped(name string, tasks []prepareTask) error {
	f, size, err := openShard(name)
	if err != nil {
		return err
	}
	defer f.Close()
	x, err := readShard(f, size)
	if err == nil && len(x.Records) != len(tasks) {
		err = fmt.Errorf("have %d records, want %d", len(x.Records), len(tasks))
	}
	if err != nil {
		return fmt.Errorf("data.cache: %s: %w", printable(name), err)
	}
	for i, r := range x.Records {
		if r.Error == "" {
			continue
		}
		if err := p.source.Skip(tasks[i].view, errors.New(r.Error)); err != nil {
			return err
		}
	}
	return nil
}
