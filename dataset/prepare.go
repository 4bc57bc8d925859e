package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mvag-torch/configs"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/machine"
)

// shardBytes is the most that the records of a shard take; what a killed preparation loses is less than that.
var shardBytes int64 = 256 << 20

// Preparation is what Prepare is about to do.
type Preparation struct {
	Folder   string
	Images   int   // of the set
	Masks    int   // of the set
	Have     int   // images and masks that are there already
	Replaced int   // shards that are damaged, or hold files that have changed
	Bytes    int64 // to be written
	Free     int64 // on the disk
	Shards   int   // to be written
}

// PrepareOptions show a preparation; each may be nil.
type PrepareOptions struct {
	Begin    func(Preparation)
	Progress func(done, total int) // images and masks, by one goroutine at a time

	writer func(io.WriterAt) io.WriterAt // stands between a shard and the disk in tests
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

// Prepare decodes, resizes and crops the images and masks of set, which was opened by cfg without its cache, into the
// folder data.cache. What is there already stays. Shards appear whole or not at all, so a killed preparation goes on
// where it was, but for the shard it was at. A folder of another preprocessing is an error; files that have changed are
// prepared anew.
func Prepare(ctx context.Context, cfg configs.Data, set *Set, opt PrepareOptions) error {
	if cfg.Cache == "" {
		return errors.New("data.cache: have no folder, want one for the prepared images")
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

// unfinished are the names of files that a killed preparation left: atomicfile's, and those of version 1.
var unfinished = regexp.MustCompile(`^(\.[0-9a-f]{16}\.tmp|\.pixels-[0-9]+)$`)

// scan looks at what is there.
func (p *preparer) scan() error {
	entries, err := os.ReadDir(p.cfg.Cache)
	if err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	for _, e := range entries {
		if unfinished.MatchString(e.Name()) {
			if err := os.Remove(filepath.Join(p.cfg.Cache, e.Name())); err != nil {
				return fmt.Errorf("data.cache: %w", oneLine(err))
			}
		}
	}
	names, err := shardFiles(p.cfg.Cache)
	if err != nil {
		return fmt.Errorf("data.cache: %w", err)
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

// look takes the records of a shard into account, unless it is damaged or one of its files has changed.
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

// plan lists what is to be done, a list a shard, and makes sure that the disk has room for it.
func (p *preparer) plan(set *Set) ([][]prepareTask, error) {
	plan := Preparation{Folder: p.cfg.Cache, Replaced: len(p.drop)}
	var shards [][]prepareTask
	end := int64(shardData) // of the records in the last shard
	err := set.keys(p.cfg.Root, func(k key, v View) error {
		if k.Kind == kindMask {
			plan.Masks++
		} else {
			plan.Images++
		}
		if p.have[k] {
			plan.Have++
			return nil
		}
		p.have[k] = true // a file may be there twice
		size := align(k.length(p.cfg.Crop))
		if len(shards) == 0 || end+size > shardData+shardBytes {
			shards, end = append(shards, nil), shardData
		}
		last := &shards[len(shards)-1]
		*last = append(*last, prepareTask{v, record{key: k, Offset: end}})
		end += size
		plan.Bytes += size
		p.total++
		return nil
	})
	if err != nil {
		return nil, err
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
		return fmt.Errorf("data.cache: %s: have %s free, want %s for %d images and masks",
			printable(p.cfg.Cache), machine.Size(plan.Free), machine.Size(plan.Bytes+spare), plan.Images+plan.Masks-plan.Have)
	}
	return nil
}

// shard prepares one shard.
func (p *preparer) shard(ctx context.Context, tasks []prepareTask) error {
	name := filepath.Join(p.cfg.Cache, fmt.Sprintf("pixels-%05d.shard", p.next))
	p.next++
	f, err := atomicfile.Create(name)
	if err != nil {
		return fmt.Errorf("data.cache: %w", err)
	}
	defer atomicfile.Discard(f) // does nothing after Commit
	w := io.WriterAt(f)
	if p.opt.writer != nil {
		w = p.opt.writer(f)
	}
	if err := p.fill(ctx, w, tasks); err != nil {
		return err
	}
	x := &shardIndex{Preprocessing: p.source.Fit.preprocessing()}
	for _, t := range tasks {
		x.Records = append(x.Records, t.record)
	}
	last := x.Records[len(x.Records)-1]
	if err := x.seal(w, last.Offset+align(last.length(p.cfg.Crop))); err != nil {
		return fmt.Errorf("data.cache: %w", oneLine(err))
	}
	if err := atomicfile.Commit(f, name); err != nil {
		return fmt.Errorf("data.cache: %w", err)
	}
	return nil
}

// fill runs the tasks of a shard in parallel.
func (p *preparer) fill(ctx context.Context, w io.WriterAt, tasks []prepareTask) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cpus(p.cfg.Workers))
	var mu sync.Mutex
	for i := range tasks {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := p.task(w, &tasks[i]); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			p.done++
			if p.opt.Progress != nil {
				p.opt.Progress(p.done, p.total)
			}
			return nil
		})
	}
	return g.Wait()
}

// cpus is the number of goroutines for data.workers.
func cpus(workers int) int {
	if workers > 0 {
		return workers
	}
	return runtime.GOMAXPROCS(0)
}
