package page

import (
	"testing"

	"mvag-torch/internal/pagetest"
)

// browser shows the page of a fake service.
type browser struct {
	*pagetest.Browser
	fake *fake
}

func openPage(t *testing.T, f *fake, language, path string) *browser {
	t.Helper()
	return &browser{pagetest.Open(t, f.URL, language, path), f}
}

func eval[T any](b *browser, expression string) T {
	b.Helper()
	return pagetest.Eval[T](b.Browser, expression)
}

// says is pagetest.Says.
func says(selector, text string) string { return pagetest.Says(selector, text) }
