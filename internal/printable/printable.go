// Package printable makes a line of text that others have written.
package printable

import (
	"strings"
	"unicode"
)

// Line is text with a question mark for each character that is not printed, line feeds and what a terminal obeys among them.
func Line(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
