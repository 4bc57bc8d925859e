package printable

import "testing"

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                    "",
		"Prüfplatz 3, 検査":     "Prüfplatz 3, 検査",
		"a\nb\tc\x1b[31m\x00": "a?b?c?[31m?",
		"a\u2028b\u202ec":     "a?b?c",
	} {
		if have := Line(text); have != want {
			t.Errorf("%q: have %q, want %q", text, have, want)
		}
	}
}
