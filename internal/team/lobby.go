package team

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"mvag-torch/internal/interrupt"
)

// A store may outlive the ranks: that of torchrun does, and each node counts the restarts that it knows of, so that they
// tell nothing in common. A rank therefore takes a ticket of its number in the lobby of the store, and rank 0 writes on
// each ticket which start this is; all that follows has names of that start:
//
//	rank 0    start = starts + 1               welcome/1/7 = start …
//	rank 1    ticket = tickets/1 + 1 = 7       … reads welcome/1/7

// enter returns the names of this start. Rank 0 chooses them.
func (t *Team) enter(ctx context.Context, wait time.Duration) (start string, err error) {
	if t.place.Rank == 0 {
		n, err := t.lobby.Add("starts", 1)
		return strconv.FormatInt(n, 10), err
	}
	ticket, err := t.lobby.Add(tickets(t.place.Rank), 1)
	if err != nil {
		return "", err
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(50 * time.Millisecond) {
		start, ok, err := t.lobby.Get(welcome(t.place.Rank, ticket))
		switch {
		case err != nil || ok:
			return string(start), err
		case ctx.Err() != nil:
			return "", errInterrupted
		case time.Now().After(deadline):
			return "", fmt.Errorf("after %v have no answer of rank 0: it is not there, or has all ranks that it waits for", wait)
		}
	}
}

const errInterrupted = interrupt.Error("interrupted while it waited for other ranks")

// admit writes the names of this start on the tickets that are new. Rank 0 does so until all are there.
func (t *Team) admit() error {
	if t.place.Rank > 0 {
		return nil
	}
	for rank := 1; rank < t.place.Size; rank++ {
		n, err := t.lobby.Add(tickets(rank), 0)
		if err != nil {
			return err
		}
		seen := "seen/" + strconv.Itoa(rank)
		done, err := t.lobby.Add(seen, 0)
		for ; err == nil && done < n; done++ {
			if err = t.lobby.Set(welcome(rank, done+1), []byte(t.start)); err == nil {
				_, err = t.lobby.Add(seen, 1)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func tickets(rank int) string { return "tickets/" + strconv.Itoa(rank) }

func welcome(rank int, ticket int64) string { return fmt.Sprintf("welcome/%d/%d", rank, ticket) }
