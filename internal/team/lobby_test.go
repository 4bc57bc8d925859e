package team

import (
	"context"
	"errors"
	"testing"
	"time"

	"mvag-torch/internal/ranks"
	"mvag-torch/internal/tensor"
	"mvag-torch/internal/testenv/listen"
)

// TestLobby: the ranks of a start find each other at a store that has outlived others, whatever they have left there.
func TestLobby(t *testing.T) {
	port := serve(t)
	member := func(rank int) *Team {
		tm := &Team{place: ranks.Place{Rank: rank, Size: 3, Host: "127.0.0.1", Port: port, Agent: true}}
		var err error
		if tm.lobby, err = tm.open(time.Minute); err != nil {
			t.Fatal(err)
		}
		return tm
	}
	for _, want := range []string{"1", "2", "3"} {
		starts := make(chan string, 2)
		for rank := 1; rank < 3; rank++ {
			tm := member(rank)
			for range 2 { // a rank that has died, too
				if _, err := tm.lobby.Add(tickets(rank), 1); err != nil {
					t.Fatal(err)
				}
			}
			go func() {
				start, err := tm.enter(t.Context(), time.Minute)
				if err != nil {
					t.Error(err)
				}
				starts <- start
			}()
		}
		first := member(0)
		var err error
		if first.start, err = first.enter(t.Context(), time.Minute); err != nil || first.start != want {
			t.Fatalf("rank 0: have %q, %v, want %q", first.start, err, want)
		}
		for read := 0; read < 2; {
			if err := first.admit(); err != nil {
				t.Fatal(err)
			}
			select {
			case have := <-starts:
				if read++; have != want {
					t.Errorf("have start %q, want %q", have, want)
				}
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// serve is a store as torchrun has one.
func serve(t *testing.T) (port int) {
	t.Helper()
	port = listen.Free(t)
	server, err := tensor.OpenStore(tensor.StoreOptions{Host: "127.0.0.1", Port: port, Server: true, Listener: -1, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return port
}

// TestStopWhileJoining: a rank that waits for a connection to another, which has died meanwhile, ends when it is told to.
func TestStopWhileJoining(t *testing.T) {
	place := ranks.Place{Size: 2, LocalSize: 1, Host: "127.0.0.1", Port: serve(t), Agent: true}
	other := &Team{place: place, start: "1"}
	store, err := other.open(time.Minute)
	if err == nil {
		err = store.Set("member/1", []byte(`{"version":"v","size":2}`))
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	if _, err := Join(ctx, &place, Options{Version: "v", Wait: 5 * time.Second}); !errors.Is(err, errInterrupted) {
		t.Errorf("have %v, want %v", err, errInterrupted)
	}
}
