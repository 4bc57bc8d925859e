package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"mvag-torch/configs"
	"mvag-torch/internal/machine"
)

// shardBytes is the most that the records of a shard take; what a killed
// preparation loses is less than that.
var shardBytes int64 = 256 << 20

// Preparation is what Prepare is about to do.
type Preparation struct {
	Folder   string
	Pictures int   // of the set
	Masks    int   // of the set
	Have     int   // pictures and masks that are there already
	Replaced int   // shards that are damaged, or hold files that have changed
	Bytes    int64 // to be written
	Free     int64 // on the disk
	Shards   int   // to be written
}

// PrepareOptions show a preparation; both may be nil.
type PrepareOptions struct {
	Begin    func(Preparation)
	Progress func(done, total int) // pictures with their masks, by one goroutine at a time
}

// preparer is a preparation under way.
type preparer struct {
	cfg    configs.Data
	source Source
	opt    PrepareOptions
	have   map[key]bool
	drop   []string // shards to be replaced
	freed  int64    // bytes of them
	next   int      // number of the next shard
	done   int
	total  int
}

// Prepare decodes, resizes and crops the pictures and masks of set, which was
// opened by cfg without its cache, into the folder data.cache. What is there
// already stays. Shards appear whole or not at all, so a killed preparation
// goes on where it was, but for the shard it was at. A folder of another
// preprocessing is an error; files that have changed are prepared anew.
func Prepare(ctx context.Context, cfg configs.Data, set *Set, opt PrepareOptions) error {
	if cfg.Cache == "" {
		return errors.New("data.cache: have no folder, want one for the prepared pictures")
	}
	if err := set.Source.Fit.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Cache, 0o755); err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	unlock, err := lock(filepath.Join(cfg.Cache, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	p := &preparer{cfg: cfg, source: set.Source, opt: opt, have: map[key]bool{}}
	if err := p.scan(); err != nil {
		return err
	}
	shards, err := p.plan(set)
	if err != nil {
		return err
	}
	for _, name := range p.drop {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("data.cache: %w", oneLine(err))
		}
	}
	for _, tasks := range shards {
		if err := p.shard(ctx, tasks); err != nil {
			return err
		}
	}
	return nil
}

// lock keeps a second preparation out of the folder.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("data.cache: %w", oneLine(err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("data.cache: %s: another preparation is at work in this folder", printable(filepath.Dir(name)))
	}
	return func() { f.Close() }, nil
}

// scan looks at what is there.
func (p *preparer) scan() error {
	unfinished, err := filepath.Glob(filepath.Join(escapeGlob(p.cfg.Cache), ".pixels-*"))
	if err != nil {
		return err
	}
	for _, name := range unfinished { // of a preparation that was killed
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("data.cache: %w", oneLine(err))
		}
	}
	names, err := shardFiles(p.cfg.Cache)
	if err != nil {
		return err
	}
	for _, name := range names {
		var number int
		if _, err := fmt.Sscanf(filepath.Base(name), "pixels-%d.shard", &number); err == nil {
			p.next = max(p.next, number+1)
		}
		if err := p.look(name); err != nil {
			return err
		}
	}
	return nil
}

// look takes the records of a shard into account, unless it is damaged or one
// of its files has changed.
func (p *preparer) look(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	x, err := readShard(f, info.Size())
	switch want := p.source.Fit.preprocessing(); {
	case errors.Is(err, errNoShard): // not ours to replace
		return fmt.Errorf("data.cache: %s: %w", printable(name), err)
	case err != nil:
		p.replace(name, info.Size())
		return nil
	case x.Preprocessing != want:
		return otherPreprocessing(name, x.Preprocessing, want)
	}
	for _, r := range x.Records {
		path := filepath.Join(p.cfg.Root, filepath.FromSlash(string(r.Path)))
		if changed(path, r.origin) || r.Error != "" && !p.source.Skip(View{Path: path}, errors.New(r.Error)) {
			p.replace(name, info.Size())
			return nil
		}
	}
	for _, r := range x.Records {
		p.have[r.key] = true
	}
	return nil
}

func (p *preparer) replace(name string, size int64) {
	p.drop = append(p.drop, name)
	p.freed += size
}

// plan lists what is to be done, a list a shard, and makes sure that the disk
// has room for it.
func (p *preparer) plan(set *Set) ([][]prepareTask, error) {
	plan := Preparation{Folder: p.cfg.Cache, Replaced: len(p.drop)}
	var shards [][]prepareTask
	end := int64(0) // of the records in the last shard
	for _, t := range tasksOf(set) {
		var size int64
		for _, want := range []struct {
			has bool
			key func(string, View) (key, error)
			put **record
		}{{true, pictureKey, &t.picture}, {t.masked(), maskKey, &t.mask}} {
			if !want.has {
				continue
			}
			k, err := want.key(p.cfg.Root, t.view)
			if err != nil {
				return nil, err
			}
			if k.Kind == kindMask {
				plan.Masks++
			} else {
				plan.Pictures++
			}
			if p.have[k] {
				plan.Have++
				continue
			}
			p.have[k] = true // a file may be there twice
			*want.put = &record{key: k}
			size += align(k.length(p.cfg.Crop))
		}
		if size == 0 {
			continue
		}
		if len(shards) == 0 || end+size > shardBytes {
			shards, end = append(shards, nil), 0
		}
		last := &shards[len(shards)-1]
		*last = append(*last, t)
		end += size
		plan.Bytes += size
		p.total++
	}
	plan.Shards = len(shards)
	return shards, p.announce(plan)
}

func align(n int64) int64 { return (n + recordAlign - 1) / recordAlign * recordAlign }

// announce tells the plan and compares it with the disk.
func (p *preparer) announce(plan Preparation) error {
	free, err := machine.DiskFree(p.cfg.Cache)
	if err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	plan.Free = int64(free) + p.freed
	if p.opt.Begin != nil {
		p.opt.Begin(plan)
	}
	const spare = 64 << 20
	if plan.Bytes > 0 && plan.Bytes+spare > plan.Free {
		return fmt.Errorf("data.cache: %s: have %s free, want %s for %d pictures and masks",
			printable(p.cfg.Cache), machine.Size(plan.Free), machine.Size(plan.Bytes+spare), plan.Pictures+plan.Masks-plan.Have)
	}
	return nil
}

// shard prepares one shard.
func (p *preparer) shard(ctx context.Context, tasks []prepareTask) (err error) {
	f, err := os.CreateTemp(p.cfg.Cache, ".pixels-*")
	if err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	defer func() {
		if err != nil {
			f.Close() // after success it is closed
			os.Remove(f.Name())
		}
	}()
	x := &shardIndex{Preprocessing: p.source.Fit.preprocessing()}
	end := int64(shardData)
	for i := range tasks {
		for _, r := range []*record{tasks[i].picture, tasks[i].mask} {
			if r != nil {
				r.Offset = end
				end += align(r.length(p.cfg.Crop))
			}
		}
	}
	if err := p.fill(ctx, f, tasks); err != nil {
		return err
	}
	for i := range tasks {
		for _, r := range []*record{tasks[i].picture, tasks[i].mask} {
			if r != nil {
				x.Records = append(x.Records, *r)
			}
		}
	}
	name := filepath.Join(p.cfg.Cache, fmt.Sprintf("pixels-%05d.shard", p.next))
	p.next++
	if err := errors.Join(x.seal(f, end), f.Chmod(0o644), f.Sync(), f.Close(), os.Rename(f.Name(), name), syncFolder(p.cfg.Cache)); err != nil {
		return fmt.Errorf("data.cache: %w", err)
	}
	return nil
}

// syncFolder makes the names in a folder last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fill runs the tasks of a shard in parallel.
func (p *preparer) fill(ctx context.Context, f *os.File, tasks []prepareTask) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers := p.cfg.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	todo := make(chan *prepareTask)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range workers {
		wg.Go(func() {
			pixels := make([]uint8, 3*p.cfg.Crop*p.cfg.Crop)
			for t := range todo {
				if ctx.Err() != nil {
					continue
				}
				if err := p.task(f, t, pixels); err != nil {
					cancel(err)
					continue
				}
				mu.Lock()
				p.done++
				if p.opt.Progress != nil {
					p.opt.Progress(p.done, p.total)
				}
				mu.Unlock()
			}
		})
	}
	for i := range tasks {
		todo <- &tasks[i]
	}
	close(todo)
	wg.Wait()
	return context.Cause(ctx)
}
