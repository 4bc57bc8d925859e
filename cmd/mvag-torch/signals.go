package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/interrupt"
	"mvag-torch/internal/ranks"
	"mvag-torch/internal/team"
)

// stopped is the cause of a context that a signal has ended.
type stopped struct{ signal syscall.Signal }

func (s *stopped) Error() string { return "interrupted" }

// Is holds for context.Canceled, which ctx.Err() is.
func (s *stopped) Is(target error) bool { return target == context.Canceled }

// code is the exit code of a process that a signal has ended, as a shell has it.
func code(s syscall.Signal) int { return 128 + int(s) }

// once is how long further signals count as the first one: timeout(1) and launchers of ranks send it twice.
const once = 200 * time.Millisecond

// heed returns a context that ends with the first signal that asks this process to end, so that it ends in order. The
// next one ends the process at once by exit, whatever it does. Those are SIGINT, SIGTERM and, of a terminal that was closed,
// SIGHUP, unless that is ignored already (nohup). serving says that the command is serve, for which SIGHUP has another
// meaning.
func heed(serving bool, exit func(int)) context.Context {
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	switch {
	case serving:
		signal.Ignore(syscall.SIGHUP) // until there is something to load again
	case !signal.Ignored(syscall.SIGHUP):
		list = append(list, syscall.SIGHUP)
	}
	ctx, end := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, list...)
	go func() {
		var first time.Time
		for s := range signals {
			which, ok := s.(syscall.Signal)
			switch {
			case !ok:
			case first.IsZero():
				first = time.Now()
				signal.Ignore(syscall.SIGPIPE) // the same Ctrl-C has ended who reads what is still to be said
				end(&stopped{which})
			case time.Since(first) >= once:
				exit(code(which))
			}
		}
	}()
	return ctx
}

// interrupted is err, but where that is only that ctx has ended, and nobody has said more of it, it is text.
func interrupted(ctx context.Context, err error, text string) error {
	var said interrupt.Error
	var of *ranks.Ended
	var met *team.Failure
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) || errors.As(err, &said) || errors.As(err, &of) || errors.As(err, &met) {
		return err
	}
	return interrupt.Error(text)
}

// promptly returns what f does, or the cause of ctx as soon as that ends, for an f that cannot look at ctx on its way. The
// process has to end then: f still runs, but no file of package atomicfile appears any more, and none is left unfinished.
func promptly(ctx context.Context, f func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	atomicfile.Abandon()
	select {
	case err := <-done: // it was faster
		return err
	default:
		return context.Cause(ctx)
	}
}

// waiting reads a file by f, and ends promptly where that is a pipe, whose writer may never come.
func waiting(ctx context.Context, file string, f func() error) error {
	if info, err := os.Stat(file); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return f()
	}
	return promptly(ctx, f)
}

// prompt is an action that ends [promptly].
func prompt(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		return promptly(c.Context, func() error { return action(c) })
	}
}

// untilEnd reads until ctx ends, where in may wait for somebody to type.
type untilEnd struct {
	ctx context.Context
	in  io.Reader
}

func (r untilEnd) Read(to []byte) (int, error) {
	var n int
	var err error
	text, done := make([]byte, len(to)), make(chan struct{})
	go func() { // of a read that nothing can end
		defer close(done)
		n, err = r.in.Read(text)
	}()
	select {
	case <-done:
		return copy(to, text[:n]), err
	case <-r.ctx.Done():
		return 0, context.Cause(r.ctx)
	}
}

// Texts of [interrupted].
const (
	startsAgain = "interrupted; the same command starts again"
	goesOn      = "interrupted; the same command goes on"
	unchanged   = "interrupted; the checkpoint is as it was, and the same command starts again"
)
