// Package team joins the processes of a run, so that they go on together or end together: they meet at a store, agree on
// what they run, and learn of a rank that fails, stops or disappears within seconds, by number and host.
//
// A nil *Team is a process alone; its methods do nothing.
package team

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mvag-torch/internal/ranks"
	"mvag-torch/internal/tensor"
)

// Team is the processes of a run.
type Team struct {
	place   ranks.Place
	lobby   *tensor.Store // names of all starts
	start   string        // this one
	members []member      // by rank
	store   *tensor.Store // names of this start
	group   *tensor.Group

	pulse   *tensor.Store // a connection of its own: what it asks must not wait for others
	beat    atomic.Int64  // when the store has last answered, in Unix nanoseconds
	stop    context.CancelFunc
	watches sync.WaitGroup
	lived   chan struct{} // closed when this rank gives no more signs of life
	mu      sync.Mutex
	failure *Failure // the first that was noticed
	trouble error    // in NCCL, which nobody waits for
}

// member is what ranks know of each other.
type member struct {
	Host    string `json:"host"`
	Process int    `json:"process"`
	Version string `json:"version"`
	Command string `json:"command"`
	Size    int    `json:"size"` // of the team, as this rank has been told
}

// readMember reads what a rank says of itself.
func readMember(text []byte) (m member, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("have no description of a rank: %w", err)
	}
	m.Host, m.Version, m.Command = nameOf(m.Host), nameOf(m.Version), nameOf(m.Command)
	return m, nil
}

// Options of Join.
type Options struct {
	Version string        // of the program, the same on all ranks
	Command string        // that is run, the same on all ranks
	Wait    time.Duration // for the other ranks
}

// DefaultWait is how long a rank waits for the others to start.
const DefaultWait = 5 * time.Minute

// forever bounds an operation in a group, which the watch ends earlier where a rank is gone.
const forever = 24 * time.Hour

// Join waits until all ranks are there. It is an error that names them if one does not come, comes twice or is of
// another version, or once ctx ends, after which this process can do no more with LibTorch. It also divides the CPUs of
// the host among its ranks, and gives each a GPU of its own ([tensor.SetLocalRank]).
func Join(ctx context.Context, place *ranks.Place, o Options) (*Team, error) {
	if place == nil {
		return nil, nil
	}
	// Gloo writes to a rank that is gone from threads of its own, where Go leaves the signal to the system, which would end
	// this process without a word. Ignored, the write fails.
	signal.Ignore(syscall.SIGPIPE)
	share(*place)
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	t := &Team{place: *place}
	joined := make(chan error, 1) // what waits for connections does not look at ctx
	go func() { joined <- t.join(ctx, member{host, os.Getpid(), o.Version, o.Command, place.Size}, o.Wait) }()
	select {
	case err = <-joined:
	case <-ctx.Done():
		err = errInterrupted
	}
	if err != nil {
		var met *Failure
		if !errors.As(err, &met) {
			err = fmt.Errorf("rank %d (%s): %w", place.Rank, host, err)
		} else if t.serves() {
			time.Sleep(2 * interval) // the store ends with this process; the others shall have seen why
		}
		return nil, err
	}
	return t, nil
}

// share gives this rank its part of the host. The number of threads that somebody set stays, and so does a CPU mask:
// a launcher has divided the CPUs then.
func share(p ranks.Place) {
	tensor.SetLocalRank(p.LocalRank, p.LocalSize)
	if all := runtime.NumCPU(); p.LocalSize > 1 && all == online() {
		part := max(1, all/p.LocalSize)
		if os.Getenv("OMP_NUM_THREADS") == "" {
			tensor.SetThreads(part)
		}
		if os.Getenv("GOMAXPROCS") == "" {
			runtime.GOMAXPROCS(part)
		}
	}
}

// online is the number of CPUs of the host, of which a process may be given fewer.
func online() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online")
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		var from, to int
		switch k, _ := fmt.Sscanf(part, "%d-%d", &from, &to); k {
		case 1:
			n++
		case 2:
			n += to - from + 1
		}
	}
	if err != nil || n == 0 {
		return runtime.NumCPU()
	}
	return n
}

func (t *Team) join(ctx context.Context, self member, wait time.Duration) (err error) {
	p := t.place
	if t.lobby, err = t.open(wait); err != nil {
		return err
	}
	if t.start, err = t.enter(ctx, wait); err != nil {
		return err
	}
	if t.store, err = t.open(wait); err != nil {
		return err
	}
	if err := t.announce(self); err != nil {
		return err
	}
	if err := t.assemble(ctx, wait); err != nil {
		return err
	}
	address, err := local(p.Host, p.Port)
	if err != nil {
		return err
	}
	t.group, err = tensor.JoinGroup(t.store, tensor.GroupOptions{Rank: p.Rank, Size: p.Size, Address: address,
		Interface: os.Getenv("GLOO_SOCKET_IFNAME"), Timeout: wait})
	if err == nil {
		t.pulse, err = t.open(silence)
	}
	if err != nil {
		return err
	}
	t.group.SetTimeout(forever)
	t.watch()
	return nil
}

// open connects to the store, which this rank makes if it is its server and has none yet.
func (t *Team) open(timeout time.Duration) (*tensor.Store, error) {
	p := t.place
	serve := t.serves() && t.lobby == nil
	o := tensor.StoreOptions{Host: p.Host, Port: p.Port, Server: serve, Listener: -1, Timeout: timeout, Prefix: "mvag/" + p.Run + "/" + t.start}
	if serve {
		o.Listener = p.Listener
	}
	s, err := tensor.OpenStore(o)
	at := net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	switch {
	case err != nil && serve:
		if strings.Contains(err.Error(), "EADDRINUSE") { // among much else
			err = errors.New("another program has it")
		}
		return nil, fmt.Errorf("cannot listen at port %d, where the other ranks look for it: %w; MASTER_PORT chooses another", p.Port, err)
	case err != nil:
		return nil, fmt.Errorf("%s, where rank 0 or %s should answer: %w", at, p.Launcher, err)
	}
	return s, nil
}

// announce tells the others who has this rank, of which there may be one only.
func (t *Team) announce(self member) error {
	name := "member/" + strconv.Itoa(t.place.Rank)
	text, err := json.Marshal(self)
	if err != nil {
		return err
	}
	n, err := t.store.Add("count/"+strconv.Itoa(t.place.Rank), 1)
	if err == nil && n == 1 {
		return t.store.Set(name, text)
	}
	if err != nil {
		return err
	}
	var other member
	for range 20 { // it may be about to say
		text, ok, err := t.store.Get(name)
		if err != nil {
			return err
		}
		if ok {
			if other, err = readMember(text); err != nil {
				return err
			}
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	f := Failure{Rank: t.place.Rank, Host: self.Host, Text: fmt.Sprintf("have this rank twice: process %d on %s and process %d on %s",
		other.Process, other.Host, self.Process, self.Host)}
	t.post(f)
	return errors.New(f.Text)
}

// assemble waits for all members.
func (t *Team) assemble(ctx context.Context, wait time.Duration) error {
	t.members = make([]member, t.place.Size)
	deadline := time.Now().Add(wait)
	for rank := 0; rank < len(t.members); {
		if err := t.admit(); err != nil {
			return err
		}
		text, ok, err := t.store.Get("member/" + strconv.Itoa(rank))
		switch {
		case err != nil:
			return err
		case ok:
			if t.members[rank], err = readMember(text); err != nil {
				return fmt.Errorf("rank %d: %w", rank, err)
			}
			if err := t.fits(rank); err != nil {
				return err
			}
			rank++
			continue
		case ctx.Err() != nil:
			return errInterrupted
		case time.Now().After(deadline):
			return t.missing(wait)
		}
		if f := t.posted(t.store); f != nil {
			return f
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

// fits refuses a rank that is not of this team.
func (t *Team) fits(rank int) error {
	m, first := t.members[rank], t.members[0]
	switch {
	case m.Version != first.Version:
		return t.refuse(rank, "version", m.Version, first.Version)
	case m.Size != first.Size:
		return t.refuse(rank, "number of ranks", strconv.Itoa(m.Size), strconv.Itoa(first.Size))
	case m.Command != first.Command:
		return t.refuse(rank, "command", m.Command, first.Command)
	}
	return nil
}

// missing names the ranks that have not come. The first of those that have says so.
func (t *Team) missing(wait time.Duration) error {
	var names []string
	first := -1
	for rank := range t.members {
		if _, ok, err := t.store.Get("member/" + strconv.Itoa(rank)); err == nil && !ok {
			names = append(names, strconv.Itoa(rank))
		} else if first < 0 {
			first = rank
		}
	}
	return &Failure{Rank: -1, Text: fmt.Sprintf("after %v have %d of %d ranks, without %s", wait, len(t.members)-len(names), len(t.members),
		strings.Join(names, ", ")), Quiet: t.place.Rank != first}
}

// local returns the address of this host on the way to another one.
func local(host string, port int) (string, error) {
	c, err := net.Dial("udp", net.JoinHostPort(host, strconv.Itoa(port))) // sends nothing
	if err != nil {
		return "", err
	}
	defer c.Close()
	address, _, err := net.SplitHostPort(c.LocalAddr().String())
	return address, err
}

// Rank is the number of this process, from 0.
func (t *Team) Rank() int {
	if t == nil {
		return 0
	}
	return t.place.Rank
}

// Size is the number of processes.
func (t *Team) Size() int {
	if t == nil {
		return 1
	}
	return t.place.Size
}

// Group computes with the other ranks; nil alone.
func (t *Team) Group() *tensor.Group {
	if t == nil {
		return nil
	}
	return t.group
}

// String is for people: 4 ranks on 2 hosts, by torchrun.
func (t *Team) String() string {
	hosts := map[string]bool{}
	for _, m := range t.members {
		hosts[m.Host] = true
	}
	return fmt.Sprintf("%d ranks on %s, by %s", len(t.members), plural(len(hosts), "host"), t.place.Launcher)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Leave waits for the other ranks to be done, too, and ends the team.
func (t *Team) Leave() error {
	if t == nil {
		return nil
	}
	if _, err := t.Meet(nil, nil); err != nil {
		return t.Explain(err)
	}
	t.end()
	<-t.lived
	t.group.Leave()
	t.closeStore()
	return nil
}

// closeStore closes the store, at its server after all others.
func (t *Team) closeStore() {
	n, err := t.store.Add("left", 1)
	for began := time.Now(); t.serves() && err == nil && int(n) < t.place.Size && time.Since(began) < silence; {
		time.Sleep(10 * time.Millisecond)
		n, err = t.store.Add("left", 0)
	}
	t.pulse.Close()
	t.store.Close()
	t.lobby.Close()
}

// serves tells whether this rank is the server of the store.
func (t *Team) serves() bool { return t.place.Rank == 0 && !t.place.Agent }
