package team

import (
	"net"
	"testing"
	"time"

	"mvag-torch/internal/ranks"
	"mvag-torch/internal/tensor"
)

// TestLobby: the ranks of a start find each other at a store that has outlived others, whatever they have left there.
func TestLobby(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(l.Addr())
	}
	port := at.Port
	l.Close()
	server, err := tensor.OpenStore(tensor.StoreOptions{Host: "127.0.0.1", Port: port, Server: true, Listener: -1, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	member := func(rank int) *Team {
		tm := &Team{place: ranks.Place{Rank: rank, Size: 3, Host: "127.0.0.1", Port: port, Agent: true}}
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
