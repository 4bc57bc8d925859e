package eval

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/team"
)

// meeting is where ranks tell each other how a class goes.
type meeting struct {
	interrupt context.Context
	team      *team.Team
	name      string // of the class, for errors; "" for none
}

func (r *run) meeting(c class) meeting { return meeting{r.ctx, r.opt.Team, c.name} }

// word is what a rank tells the others.
type word struct {
	Stop       bool                         // it is interrupted
	Restored   []string                     // classes that rank 0 has results of
	LeftOut    map[int]string               // why images of its batch could not be read and were left out, by index
	Uncaptured string                       // why a prediction of it cannot be captured
	Noted      map[dataset.Finding][]string // files that are odd
}

// meet tells the others mine and returns what all ranks have to say, in their order. If one has failed, or is
// interrupted, it is an error on all of them.
func (m meeting) meet(mine word, failure error) ([]word, error) {
	if failure != nil && m.interrupt.Err() != nil && m.team != nil {
		mine.Stop, failure = true, nil
	}
	if failure != nil && m.name != "" {
		failure = fmt.Errorf("class %q: %w", m.name, failure)
	}
	if m.team == nil {
		return []word{mine}, failure
	}
	var text bytes.Buffer
	if mine.worth() {
		if err := gob.NewEncoder(&text).Encode(mine); err != nil {
			return nil, err
		}
	}
	said, err := m.team.Meet(text.Bytes(), failure)
	if err != nil {
		return nil, err
	}
	all, stop := make([]word, len(said)), false
	for rank, text := range said {
		if len(text) > 0 {
			if err := gob.NewDecoder(bytes.NewReader(text)).Decode(&all[rank]); err != nil {
				return nil, fmt.Errorf("what rank %d says: %w", rank, err)
			}
		}
		stop = stop || all[rank].Stop
	}
	if stop {
		return nil, fmt.Errorf("class %q: %w", m.name, context.Canceled)
	}
	return all, nil
}

// worth says whether there is anything in it.
func (w word) worth() bool {
	return w.Stop || len(w.Restored)+len(w.LeftOut)+len(w.Uncaptured)+len(w.Noted) > 0
}

// open tells the other ranks which classes rank 0 does not evaluate again.
func (r *run) open(plan Plan) error {
	var failure error
	if plan.Images == 0 && r.opt.Team.Rank() == 0 { // the others have none, too
		failure = fmt.Errorf("%s: no test images", r.cfg.Data.Root)
	}
	said, err := meeting{interrupt: r.ctx, team: r.opt.Team}.meet(word{Restored: plan.Restored}, failure)
	if err != nil || r.opt.Team.Rank() == 0 {
		return err
	}
	for i := range r.classes {
		if slices.Contains(said[0].Restored, r.classes[i].name) {
			r.classes[i].restored = &finished{}
		}
	}
	return nil
}

// facts are what ranks must have in common for their maps to be those of one process.
func facts(cfg configs.Config, p Protocol, data *dataset.Set) []team.Fact {
	device, _, _ := strings.Cut(p.Device, ":")
	var list []team.Fact
	for _, name := range slices.Sorted(maps.Keys(p.Settings)) {
		list = append(list, team.Fact{Name: name, Value: p.Settings[name]})
	}
	return append(list,
		team.Fact{Name: "eval.objects", Value: fmt.Sprint(p.Batch)},
		team.Fact{Name: "data.on_error", Value: cfg.Data.OnError},
		team.Fact{Name: "SHA-256 of the model", Value: p.Model},
		team.Fact{Name: "SHA-256 of the backbone", Value: p.Backbone},
		team.Fact{Name: "kind of device", Value: device},
		team.Fact{Name: "bits of 16-bit images", Value: fmt.Sprint(p.Depths)},
		team.Fact{Name: "test images (SHA-256 of their list with the sizes of files)", Value: data.IdentityOfCopy(data.Test)},
	)
}

// uncaptured passes on that a prediction of this rank cannot be captured.
func (r *run) uncaptured(why error) {
	if r.opt.Team.Rank() > 0 {
		r.untold = why.Error()
		return
	}
	if !r.told {
		r.told = true
		r.opt.Sink.Uncaptured(why)
	}
}

// uncapturedBy passes on the same of another rank, "" for nothing.
func (r *run) uncapturedBy(rank int, why string) {
	if why != "" {
		r.uncaptured(fmt.Errorf("rank %d: %w", rank, errors.New(why)))
	}
}
