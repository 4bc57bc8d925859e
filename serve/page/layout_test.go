package page

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// shown are the views with what they show when they are there.
var shown = []struct{ hash, ready string }{
	{"line", ".newest .banner"},
	{"inspect", "#inspect-class option"},
	{"teach", "#teach-class"},
	{"drift", ".chart svg"},
	{"review", "#review-good"},
}

func TestViewsInABrowser(t *testing.T) {
	for _, language := range []string{"en", "de"} {
		t.Run(language, func(t *testing.T) {
			b := openPage(t, newFake(t), language, "")
			for _, view := range shown {
				b.View(view.hash, view.ready)
				b.isNamed(view.hash)
				b.Do(chromedp.EmulateViewport(1280, 900))
				b.reaches(view.hash)
				for _, theme := range []string{"light", "dark"} {
					b.Theme(theme)
					b.contrasts(view.hash + " in " + theme)
					for _, width := range []int64{320, 390, 768, 1280, 1920} {
						b.Do(chromedp.EmulateViewport(width, 900))
						b.fits(view.hash, width)
						if language == "de" == (theme == "dark") && (width == 390 || width == 1280 || width == 1920) {
							b.Shoot(fmt.Sprintf("%s-%s-%d", view.hash, theme, width))
						}
					}
				}
			}
		})
	}
}

// fits says what is wider than the window.
func (b *browser) fits(view string, width int64) {
	b.Helper()
	if have := eval[int64](b, "document.documentElement.scrollWidth"); have > width {
		widest := eval[string](b, `[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, svg, .unseen, .skip") && e.getBoundingClientRect().right > innerWidth + 1)
			.map(e => e.tagName + "." + e.className + "#" + e.id).join(" ")`)
		b.Errorf("%s at %d pixels: the page is %d wide: %s", view, width, have, widest)
	}
}
