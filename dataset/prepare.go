package dataset

import (
	"cmp"
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

	"mvag-torch/configs"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/machine"
	"mvag-torch/internal/regularfile"
)

// shardBytes is the maximum size of the records of a shard. A killed preparation loses less than that.
var shardBytes int64 = 256 << 20

// Preparation describes what Prepare is about to do.
type Preparation struct {
	Folder   string
	Images   int    // in the set
	Masks    int    // in the set
	Have     int    // images and masks already prepared
	Replaced int    // shards that are damaged or contain files that have changed or are of another depth
	Bytes    int64  // to be written
	Free     int64  // on the disk
	Shards   int    // to be written
	Warning  string // that nothing keeps a second preparation away; "" where the folder is locked
}

// PrepareOptions are callbacks of a preparation, each of which may be nil, and the part that this process does of it.
type PrepareOptions struct {
	Begin    func(Preparation)     // called for part 0 only
	Progress func(done, total int) // images and masks; never called concurrently

	// Part of Parts processes that prepare one folder together: each writes its share of the shards, which are the same
	// as those of one process. Part 0 tells of all.
	Part, Parts int
	// Meet waits for the other parts, and returns an error if any of them has one. nil for a process alone.
	Meet func(mine error) error

	writer func(io.WriterAt) io.WriterAt // wraps the file of a shard in tests
}

// preparer is the state of a preparation.
type preparer struct {
	cfg     configs.Data
	source  Source
	opt     PrepareOptions
	have    map[key]bool
	bits    map[key]int // depth of each image of the set, if it has 16 bits
	drop    []string    // shards to replace
	freed   int64       // bytes of drop
	next    int         // index of the next shard
	done    int         // images and masks of the rounds behind
	total   int
	warning string
}

// Prepare decodes and fits the images and masks of set and writes what the model sees of them to the folder data.cache. set was
// opened with cfg, but without its cache. What exists already is kept. Shards are written atomically, so after an
// interruption Prepare continues behind the last complete shard. A cache of other preprocessing is an error; files that
// have changed are prepared again.
//
// Several processes may prepare a folder together ([PrepareOptions]), which they all have to see.
func Prepare(ctx context.Context, cfg configs.Data, set *Set, opt PrepareOptions) error {
	if cfg.Cache == "" {
		return errors.New("data.cache: have none, want a folder for the prepared images")
	}
	if opt.Meet == nil {
		opt.Meet = func(mine error) error { return mine }
	}
	opt.Parts = max(opt.Parts, 1)
	p := &preparer{cfg: cfg, source: set.Source, opt: opt, have: map[key]bool{}, bits: map[key]int{}}
	unlock, err := p.begin()
	defer unlock()
	if err := opt.Meet(err); err != nil {
		return err
	}
	shards, plan, err := p.plan(set)
	if err := p.agree(shards, err); err != nil {
		return err
	}
	if err := opt.Meet(p.clear(plan)); err != nil {
		return err
	}
	var failure error // of this part, which the others learn when they meet next
	for from := 0; from < len(shards); from += opt.Parts {
		round := shards[from:min(from+opt.Parts, len(shards))]
		if failure == nil {
			failure = p.round(ctx, round)
		}
		if err := opt.Meet(failure); err != nil {
			return err
		}
		failure = p.learn(round)
	}
	return opt.Meet(failure)
}

// clear reports the plan and removes the shards to replace, in part 0.
func (p *preparer) clear(plan Preparation) error {
	if p.opt.Part > 0 {
		return nil
	}
	if err := p.announce(plan); err != nil {
		return err
	}
	for _, name := range p.drop {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("data.cache: %w", oneLine(err))
		}
	}
	return nil
}

// unfinished matches the files that a killed preparation leaves besides those of atomicfile: temporary files of earlier
// versions, and those by which parts find each other.
var unfinished = regexp.MustCompile(`^(\.[0-9a-f]{16}\.tmp|\.pixels-[0-9]+|\.part-[0-9]+)$`)

// clean removes unfinished files.
func (p *preparer) clean() error {
	atomicfile.Sweep(p.cfg.Cache)
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
	return nil
}

// scan looks at the shards that exist.
func (p *preparer) scan() error {
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

// openShard opens a file of the cache and returns its size.
func openShard(name string) (*os.File, int64, error) {
	f, size, err := regularfile.Open(name)
	if err != nil {
		return nil, 0, fmt.Errorf("data.cache: %w", oneLine(err))
	}
	return f, size, nil
}

// look records what a shard contains, unless it is damaged, or one of its files has changed or is to be read at another
// depth.
func (p *preparer) look(name string) error {
	f, size, err := openShard(name)
	if err != nil {
		return err
	}
	defer f.Close()
	x, err := readShard(f, size)
	switch want := p.source.Fit.preprocessing(); {
	case errors.Is(err, errNoShard): // not a file to replace
		return fmt.Errorf("data.cache: %s: %w", printable(name), err)
	case err != nil:
		p.replace(name, size)
		return nil
	case x.Preprocessing != want:
		return otherPreprocessing(name, x.Preprocessing, want)
	}
	for _, r := range x.Records {
		path := filepath.Join(p.cfg.Root, filepath.FromSlash(string(r.Path)))
		bits, ok := p.bits[r.key]
		if changed(path, r.origin) || r.Bits != 0 && ok && r.Bits != bits || r.Error != "" && p.source.Skip(View{Path: path}, errors.New(r.Error)) != nil {
			p.replace(name, size)
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

// plan looks at what there is and divides the work into shards.
func (p *preparer) plan(set *Set) (shards [][]prepareTask, plan Preparation, err error) {
	err = set.keys(p.cfg.Root, func(k key, v View) error {
		p.bits[k] = cmp.Or(v.Bits, set.Source.Fit.bits())
		return nil
	})
	if err == nil {
		err = p.scan()
	}
	if err != nil {
		return nil, plan, err
	}
	plan = Preparation{Folder: p.cfg.Cache, Replaced: len(p.drop), Warning: p.warning}
	end := int64(shardData) // offset of the next record in the last shard
	err = set.keys(p.cfg.Root, func(k key, v View) error {
		if k.Kind == kindMask {
			plan.Masks++
		} else {
			plan.Images++
		}
		if p.have[k] {
			plan.Have++
			return nil
		}
		p.have[k] = true // a file may be in the set twice
		size := align(k.length(p.cfg.Viewport()))
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
	plan.Shards = len(shards)
	return shards, plan, err
}

func align(n int64) int64 { return (n + recordAlign - 1) / recordAlign * recordAlign }

// announce reports the plan and checks that the disk has room for it.
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

// shardName is the file of the i-th shard from the next one on.
func (p *preparer) shardName(i int) string {
	return filepath.Join(p.cfg.Cache, fmt.Sprintf("pixels-%05d.shard", p.next+i))
}

// shard prepares and writes one shard. advance is called as by parallel.
func (p *preparer) shard(ctx context.Context, name string, tasks []prepareTask, advance func(done int)) error {
	f, err := atomicfile.Create(name)
	if err != nil {
		return fmt.Errorf("data.cache: %w", err)
	}
	defer atomicfile.Discard(f) // does nothing after Commit
	w := shardWriter{f, name}
	if p.opt.writer != nil {
		w.to = p.opt.writer(f)
	}
	err = parallel(ctx, p.cfg.Workers, len(tasks), func(i int) (int, error) { return 1, p.task(w, &tasks[i]) }, advance)
	if err != nil {
		return err
	}
	x := &shardIndex{Preprocessing: p.source.Fit.preprocessing()}
	for _, t := range tasks {
		x.Records = append(x.Records, t.record)
	}
	last := x.Records[len(x.Records)-1]
	if err := x.seal(w, last.Offset+align(last.length(p.cfg.Viewport()))); err != nil {
		return err
	}
	if err := atomicfile.Commit(f, name); err != nil {
		return fmt.Errorf("data.cache: %w", err)
	}
	return nil
}

// shardWriter names in errors the shard, not the temporary file that becomes it.
type shardWriter struct {
	to   io.WriterAt
	name string
}

func (w shardWriter) WriteAt(p []byte, at int64) (int, error) {
	n, err := w.to.WriteAt(p, at)
	if err != nil {
		err = fmt.Errorf("data.cache: %s: %w", printable(w.name), atomicfile.Cause(err))
	}
	return n, err
}

// parallel calls do(0) to do(n-1) on the number of goroutines that data.workers says, until one fails or ctx ends.
// advance is called with each result of do, never concurrently.
func parallel(ctx context.Context, workers, n int, do func(i int) (done int, err error), advance func(done int)) error {
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	var mu sync.Mutex
	for i := range n {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			done, err := do(i)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			advance(done)
			return nil
		})
	}
	return g.Wait()
}
