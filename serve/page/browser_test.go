package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is Chromium without a window that shows the page of a fake service.
type browser struct {
	*testing.T
	ctx  context.Context
	fake *fake

	mu       sync.Mutex
	errors   []string // of the console, exceptions included
	requests []string
	expected []string // parts of errors that a test provokes
}

// openPage starts a browser of a language. Without Chromium the test is skipped, or fails if CI is set.
func openPage(t *testing.T, f *fake, language, path string) *browser {
	t.Helper()
	found := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			found = p
			break
		}
	}
	if found == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium: missing, and CI is set")
		}
		t.Skip("chromium: missing; install it to test the page")
	}
	alloc, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(found), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(2*time.Minute), // of a loaded machine
		chromedp.Flag("lang", language), chromedp.Flag("accept-lang", language),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true))...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	b := &browser{T: t, ctx: ctx, fake: f}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	call(b, log.Enable, cdp.Empty{})
	call(b, network.Enable, network.EnableParams{})
	b.do(chromedp.EmulateViewport(1280, 900))
	b.do(chromedp.Navigate(f.URL + "/" + path))
	t.Cleanup(b.quiet)
	return b
}

func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		b.errors = append(b.errors, fmt.Sprint(text, " ", e.ExceptionDetails.URL, ":", e.ExceptionDetails.LineNumber))
	case *runtime.EventConsoleAPICalled:
		b.errors = append(b.errors, fmt.Sprint("console: ", e.Type))
	case *log.EventEntryAdded:
		b.errors = append(b.errors, fmt.Sprint(e.Entry.Text, " ", e.Entry.URL))
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

// quiet fails where the console said something that was not expected, or the page asked for something elsewhere.
func (b *browser) quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, e := range b.errors {
		for _, part := range b.expected {
			if strings.Contains(e, part) {
				continue next
			}
		}
		b.Errorf("the console says %q", e)
	}
	for _, r := range b.requests {
		if !strings.HasPrefix(r, b.fake.URL+"/") && !strings.HasPrefix(r, "blob:"+b.fake.URL) {
			b.Errorf("the page asks for %q", r)
		}
	}
}

// do fails where an action takes more than a minute.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, over := context.WithTimeout(b.ctx, time.Minute)
	defer over()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// call runs a command of the protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.Fatal(err)
	}
}

// eval returns the value of an expression of the page.
func eval[T any](b *browser, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for something to become true.
func (b *browser) until(what, expression string) {
	b.Helper()
	ctx, over := context.WithTimeout(b.ctx, 20*time.Second)
	defer over()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression))
	for err != nil && strings.Contains(err.Error(), "Cannot find context") { // the page was loaded anew meanwhile
		_, err = chromedp.Run(ctx, chromedp.Poll[bool](expression))
	}
	if err != nil {
		b.Fatalf("%s: %v; the page says %.600q", what, err, eval[string](b, "document.querySelector('dialog[open]')?.innerText ?? document.querySelector('main').innerText"))
	}
}

// go to a view and wait for what it loads.
func (b *browser) open(hash, ready string) {
	b.Helper()
	b.do(chromedp.Navigate(b.fake.URL + "/#/" + hash))
	b.until(hash, fmt.Sprintf("!!document.querySelector(%q)", ready))
}

// theme chooses light or dark.
func (b *browser) theme(name string) {
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// shoot saves an image of the whole page where MVAG_SHOTS names a folder, to be looked at.
func (b *browser) shoot(name string) {
	folder := os.Getenv("MVAG_SHOTS")
	if folder == "" {
		return
	}
	b.until("images", "[...document.images].every(i => i.complete || i.loading === 'lazy')")
	shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), shot, 0o644); err != nil {
		b.Fatal(err)
	}
}
