package ranks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// LauncherVariable names the variable that says who has started the ranks, where the others do not tell.
const LauncherVariable = "MVAG_LAUNCHER"

// Local is a run whose ranks are all on this host, as processes of their own that this one starts. Their environment is
// that of torchrun; rank 0 also gets a socket to listen on, so that no port can be taken meanwhile.
type Local struct {
	Size           int
	Path           string        // of the program
	Args           []string      // its arguments, without its name
	Stdout, Stderr *os.File      // of rank 0; those of others go nowhere, and to Stderr line by line
	Grace          time.Duration // for the others to end once one has failed
}

// Ended is the error of a rank that has failed. It has said why itself, and Text is what else is to be said, "" for
// nothing.
type Ended struct {
	Code        int // for this process to exit with
	Text        string
	Interrupted bool // this process has asked them to end, and nothing else has happened
}

func (e *Ended) Error() string { return e.Text }

// Is holds for context.Canceled where the ranks were asked to end.
func (e *Ended) Is(target error) bool { return e.Interrupted && target == context.Canceled }

// Run starts the ranks and waits for all of them. When ctx ends they get a SIGTERM. The error is an *[Ended] with the
// exit code of the first that failed, which is 1 for a signal; that of a rank which ends for the SIGTERM counts only if no
// other has failed. When this process dies, they are killed.
func (l Local) Run(ctx context.Context) error {
	runtime.LockOSThread() // the kernel kills them when the thread that started them ends
	defer runtime.UnlockOSThread()
	all, err := l.start()
	defer func() {
		for _, c := range all {
			_ = c.Process.Kill() // those that are left where others could not start
		}
	}()
	if err != nil {
		return err
	}
	over := make(chan int)
	for rank, c := range all {
		go func() {
			_ = c.Wait() // ProcessState tells
			if text, ok := c.Stderr.(*prefixed); ok {
				text.end()
			}
			over <- rank
		}()
	}
	var w watch
	stop := ctx.Done()
	var late <-chan time.Time
	for ended := make(map[int]bool, len(all)); len(ended) < len(all); {
		select {
		case rank := <-over:
			ended[rank] = true
			if w.end(rank, all[rank].ProcessState) {
				late = time.After(l.Grace)
			}
		case <-stop:
			stop = nil
			w.stopped = true
			for rank, c := range all {
				if !ended[rank] {
					_ = c.Process.Signal(syscall.SIGTERM)
				}
			}
		case <-late:
			for rank, c := range all {
				if !ended[rank] {
					w.killed = append(w.killed, strconv.Itoa(rank))
					_ = c.Process.Kill()
				}
			}
		}
	}
	return w.err(l.Grace)
}

// start starts the ranks. With an error it returns those that were.
func (l Local) start() (all []*exec.Cmd, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	at, tcp := listener.(*net.TCPListener)
	if !tcp {
		return nil, fmt.Errorf("%v: have no socket of TCP", listener.Addr())
	}
	socket, err := at.File()
	if err != nil {
		return nil, err
	}
	defer socket.Close() // a rank that cannot reach rank 0 has to see that
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, err
	}
	lines := &lines{to: l.Stderr}
	for rank := range l.Size {
		c := exec.Command(l.Path, l.Args...)
		size, number := strconv.Itoa(l.Size), strconv.Itoa(rank)
		c.Env = append(os.Environ(), LauncherVariable+"=mvag-torch", "RANK="+number, "WORLD_SIZE="+size, "LOCAL_RANK="+number,
			"LOCAL_WORLD_SIZE="+size, "MASTER_ADDR=127.0.0.1", "MASTER_PORT="+port, "TORCHELASTIC_USE_AGENT_STORE=")
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // Ctrl-C reaches this process alone
		c.WaitDelay = time.Second
		if rank == 0 {
			c.Stdout, c.Stderr, c.ExtraFiles = l.Stdout, l.Stderr, []*os.File{socket}
			c.Env = append(c.Env, ListenerVariable+"=3")
		} else {
			c.Stderr = &prefixed{rank: rank, to: lines}
		}
		if err := c.Start(); err != nil {
			return all, fmt.Errorf("rank %d: %w", rank, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// watch is what has become of ranks.
type watch struct {
	failed  bool
	first   int      // that has failed
	broken  bool     // one has failed otherwise than by the SIGTERM
	code    int      // of the first of those; of the first where there is none
	signal  string   // that has ended it, "" for none
	stopped bool     // this process has sent all a SIGTERM
	told    bool     // a rank has exited by itself, and has said why
	killed  []string // numbers of those that this process has killed
}

// end notes how a rank has ended, and says whether it is the first that has failed.
func (w *watch) end(rank int, how *os.ProcessState) bool {
	if how.Success() {
		return false
	}
	w.told = w.told || how.Exited()
	first, code, name := !w.failed, 1, ""
	if first {
		w.failed, w.first = true, rank
	}
	status, _ := how.Sys().(syscall.WaitStatus)
	switch {
	case how.Exited():
		code = how.ExitCode()
	case w.stopped && status.Signal() == syscall.SIGTERM: // before it could heed it
		code, name = terminated, how.String()
	default:
		name = how.String()
	}
	broken := !w.stopped || code != terminated
	if first || broken && !w.broken && w.stopped {
		w.code, w.signal = code, name
	}
	w.broken = w.broken || broken
	return first
}

// terminated is the exit code of a rank that ends in order for a SIGTERM.
const terminated = 128 + int(syscall.SIGTERM)

func (w *watch) err(grace time.Duration) error {
	if !w.failed {
		return nil
	}
	e := &Ended{Code: w.code, Interrupted: !w.broken}
	switch {
	case w.told:
	case w.stopped:
		e.Text = "interrupted"
	default:
		e.Text = fmt.Sprintf("rank %d: %s", w.first, w.signal)
	}
	if w.killed != nil {
		if e.Text != "" {
			e.Text += "; "
		}
		e.Text += fmt.Sprintf("rank %s did not end within %v of rank %d and was killed", strings.Join(w.killed, ", "), grace, w.first)
	}
	return e
}

// lines writes whole lines of several processes.
type lines struct {
	mu sync.Mutex
	to io.Writer
}

// prefixed writes the lines of a rank, each after its number unless it is an error, which names a rank.
type prefixed struct {
	rank int
	to   *lines
	part []byte // of a line
}

// end completes the last line.
func (p *prefixed) end() {
	if len(p.part) > 0 {
		_, _ = p.Write([]byte{'\n'})
	}
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.part = append(p.part, b...)
	at := bytes.LastIndexByte(p.part, '\n')
	if at < 0 {
		return len(b), nil
	}
	var out []byte
	for line := range bytes.Lines(p.part[:at+1]) {
		if !bytes.HasPrefix(line, []byte("mvag-torch: rank ")) {
			out = fmt.Appendf(out, "rank %d: ", p.rank)
		}
		out = append(out, line...)
	}
	p.part = append(p.part[:0], p.part[at+1:]...)
	p.to.mu.Lock()
	defer p.to.mu.Unlock()
	_, err := p.to.to.Write(out)
	return len(b), err
}
