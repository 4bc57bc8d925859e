package testenv

import (
	"slices"
	"testing"
)

func TestInjectedCalls(t *testing.T) {
	const log = `7 close(5</a/b> <unfinished ...>
8  close(6</a/c>) = 0
9 write(3</a/d>, ""..., 2 <unfinished ...>
7 <... close resumed>) = -1 EDQUOT (Disk quota exceeded) (INJECTED)
9 <... write resumed>) = 2
8 rename("/a/b", "/e") = -1 EIO (Input/output error) (INJECTED)
8 rename("/f", "/e") = -1 EIO (Input/output error) (INJECTED)
`
	want := []string{`7 close(5</a/b>) = -1 EDQUOT (Disk quota exceeded) (INJECTED)`, `8 rename("/a/b", "/e") = -1 EIO (Input/output error) (INJECTED)`}
	if have := injectedCalls(log, "/a/"); !slices.Equal(have, want) {
		t.Errorf("have %q, want %q", have, want)
	}
}
