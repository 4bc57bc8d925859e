package team

import (
	"strings"
	"testing"

	"mvag-torch/internal/ranks"
)

// FuzzLobby holds that what another rank says of itself, or of what has happened to it, is a line of text.
func FuzzLobby(f *testing.F) {
	f.Add([]byte(`{"host":"a","process":7,"version":"1","command":"train","size":2,"rank":1,"text":"killed"}`))
	f.Add([]byte(`{"host":"a\n\u001b[31m","version":"\u0000","command":"` + strings.Repeat("x", 1000) + `","rank":-2}`))
	f.Add([]byte(`{"rank":9223372036854775807}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, text []byte) {
		t1 := &Team{place: ranks.Place{Size: 2}, members: make([]member, 2)}
		line := ""
		if m, err := readMember(text); err != nil {
			line = err.Error()
		} else {
			t1.members[1] = m
			if err := t1.fits(1); err != nil {
				line = err.Error()
			}
			line += t1.String()
		}
		if len(line) > 2000 || strings.ContainsAny(line, "\n\x00\x1b") {
			t.Errorf("have %q, want a line", line)
		}
		if failure := t1.readFailure(text); failure != nil {
			if failure.Rank < -1 || failure.Rank > 1 || strings.ContainsAny(failure.Host, "\n\x00\x1b") {
				t.Errorf("have %+v", failure)
			}
			_ = failure.Gone()
		}
	})
}
