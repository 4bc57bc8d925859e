// Package pagetest opens a page in Chromium, for tests: that of the service, or a file.
package pagetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// Browser is Chromium without a window that shows a page.
type Browser struct {
	*testing.T
	URL string // of the service, or of the folder of the file, without a slash at its end

	ctx context.Context

	mu       sync.Mutex
	errors   []string // of the console, exceptions included
	requests []string
	expected []string // parts of errors that a test provokes
	allowed  []string // beginnings of what the page may ask for
}

// Open starts a browser of a language and opens the address path below url. Without Chromium the test is skipped, or
// fails if CI is set. In the end the test fails where the console said something that was not expected, or the page asked
// for something that is neither below url nor allowed.
func Open(t *testing.T, url, language, path string) *Browser {
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
	b := &Browser{T: t, URL: url, ctx: ctx, allowed: []string{url + "/", "blob:" + url}}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	Call(b, log.Enable, cdp.Empty{})
	Call(b, network.Enable, network.EnableParams{})
	b.Do(chromedp.EmulateViewport(1280, 900))
	b.Do(chromedp.Navigate(url + "/" + path))
	t.Cleanup(b.quiet)
	return b
}

func (b *Browser) listen(event any) {
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

// quiet fails where the console said something that was not expected, or the page asked for something not allowed.
func (b *Browser) quiet() {
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
		if !slices.ContainsFunc(b.allowed, func(own string) bool { return strings.HasPrefix(r, own) }) {
			b.Errorf("the page asks for %q", r)
		}
	}
}

// Do fails where an action takes more than two minutes.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, over := context.WithTimeout(b.ctx, 2*time.Minute)
	defer over()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// Call runs a command of the protocol.
func Call[P, R any](b *Browser, command cdp.Command[P, R], params P) {
	b.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.Fatal(err)
	}
}

// Eval returns the value of an expression of the page.
func Eval[T any](b *Browser, expression string) T {
	b.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.Fatalf("%s: %v", expression, err)
	}
	return v
}

// Until waits up to a minute for something to become true.
func (b *Browser) Until(what, expression string) {
	b.Helper()
	ctx, over := context.WithTimeout(b.ctx, time.Minute)
	defer over()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression))
	for err != nil && strings.Contains(err.Error(), "Cannot find context") { // the page was loaded anew meanwhile
		_, err = chromedp.Run(ctx, chromedp.Poll[bool](expression))
	}
	if err != nil {
		b.Fatalf("%s: %v; the page says %.600q", what, err, Eval[string](b, "document.querySelector('dialog[open]')?.innerText ?? document.querySelector('main').innerText"))
	}
}

// View goes to a view by its hash and waits for an element of it.
func (b *Browser) View(hash, ready string) {
	b.Helper()
	b.Do(chromedp.Navigate(b.URL + "/#/" + hash))
	b.Until(hash, fmt.Sprintf("!!document.querySelector(%q)", ready))
}

// Theme chooses light or dark.
func (b *Browser) Theme(name string) {
	Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// Shoot saves an image of the whole page where MVAG_SHOTS names a folder, to be looked at.
func (b *Browser) Shoot(name string) {
	folder := os.Getenv("MVAG_SHOTS")
	if folder == "" {
		return
	}
	b.Until("images", "[...document.images].every(i => i.complete || i.loading === 'lazy')")
	shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), shot, 0o644); err != nil {
		b.Fatal(err)
	}
}

// Expect names parts of what the console may say, since the test provokes it.
func (b *Browser) Expect(parts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, parts...)
}

// Allow names beginnings of addresses that the page may ask for, besides those below URL.
func (b *Browser) Allow(beginnings ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = append(b.allowed, beginnings...)
}

// Press presses keys one after the other.
func (b *Browser) Press(keys ...string) {
	b.Helper()
	for _, k := range keys {
		b.Do(chromedp.KeyEvent(k))
	}
}

// Focus puts the focus somewhere, as soon as there is such an element.
func (b *Browser) Focus(selector string) {
	b.Helper()
	b.Until("focus on "+selector, fmt.Sprintf("(e => !!e && (e.focus(), document.activeElement === e))(document.querySelector(%q))", selector))
}

// Choose gives a field files, as the dialog of the browser does.
func (b *Browser) Choose(selector string, paths []string) {
	b.Helper()
	b.Do(chromedp.SetUploadFiles(chromedp.CSS(selector), paths))
}

// Type enters text in a field that has the focus then.
func (b *Browser) Type(selector, text string) {
	b.Helper()
	b.Do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Says is an expression that is true where an element shows a text.
func Says(selector, text string) string {
	return fmt.Sprintf("!!document.querySelector(%q)?.innerText.includes(%q)", selector, text)
}
