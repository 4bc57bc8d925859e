package team

import (
	"context"
	"time"
)

// Signs of life: each rank gives one in every interval; one that gives none for silence is taken as gone, or for
// suspicion where a connection was closed, too.
const (
	interval  = 500 * time.Millisecond
	silence   = 8 * time.Second
	suspicion = 2 * time.Second
)

// watch gives signs of life until end is called, and looks for those of the others: rank 0 at all, all at rank 0.
func (t *Team) watch() {
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.beat.Store(time.Now().UnixNano())
	t.watches.Go(func() { t.observe(ctx) })
	t.lived = make(chan struct{})
	go func() { // it may wait for a store that is gone
		defer close(t.lived)
		t.live(ctx)
	}()
}

// end stops the watch.
func (t *Team) end() {
	t.stop()
	t.watches.Wait()
}

// live gives signs of life and looks at those of others.
func (t *Team) live(ctx context.Context) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	seen := map[int]sign{}
	for ctx.Err() == nil {
		if _, err := t.pulse.Add(beatOf(t.place.Rank), 1); err != nil {
			t.lostStore()
			return
		}
		t.beat.Store(time.Now().UnixNano())
		if f := t.posted(t.pulse); f != nil {
			t.fail(f)
			return
		}
		for rank := range t.members {
			if rank == t.place.Rank || rank > 0 && t.place.Rank > 0 {
				continue
			}
			n, err := t.pulse.Add(beatOf(rank), 0)
			if err != nil {
				t.lostStore()
				return
			}
			t.look(seen, rank, n)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
		}
	}
}

// sign is the latest sign of life of a rank.
type sign struct {
	number int64
	at     time.Time
}

// look compares the sign of a rank with the one before.
func (t *Team) look(seen map[int]sign, rank int, number int64) {
	last, known := seen[rank]
	if !known || last.number != number {
		seen[rank] = sign{number, time.Now()}
		return
	}
	since := time.Since(last.at)
	var f *Failure
	switch {
	case since > suspicion && t.group.Failed():
		f = t.gone(rank, closed)
	case since > silence:
		f = t.gone(rank, silent)
	default:
		return
	}
	t.post(*f)
	t.fail(f)
}

// observe notices a store that gives no answer, and what has failed between GPUs.
func (t *Team) observe(ctx context.Context) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if err := t.group.State(); err != nil { // a rank may be gone, which shows soon
			t.mu.Lock()
			t.trouble = err
			t.mu.Unlock()
			t.group.Abort()
		}
		if time.Since(time.Unix(0, t.beat.Load())) > silence {
			t.lostStore()
			return
		}
	}
}

// lostStore is called where the store gives no answer: its server is gone, at once where the connection was closed.
func (t *Team) lostStore() {
	text := closed
	if time.Since(time.Unix(0, t.beat.Load())) > suspicion {
		text = silent
	}
	f := t.gone(0, text)
	if t.place.Agent {
		f = &Failure{Rank: -1, Text: "the store of " + t.place.Launcher + " is gone", Quiet: t.place.Rank != 0}
	}
	t.fail(f)
}
