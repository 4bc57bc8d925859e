package page

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// outside matches what an HTML file would fetch or run.
var outside = regexp.MustCompile(`(?i)<(script|img|link|iframe|object|embed|form|a)\b[^>]*?(src|href|action|data)\s*=\s*["']?([^"'#\s>][^"'\s>]*)`)

// FuzzRun holds that whatever the files of a run folder contain, they are refused with their name, or the report fetches
// nothing and runs no script but its own.
func FuzzRun(f *testing.F) {
	run := sampleRun(f, 2, nasty)
	names := []string{"results.json", "scores.jsonl", "objects.jsonl", "curves.jsonl", "gallery.jsonl", "train.jsonl", "config.yaml"}
	var texts [7]string
	for i, name := range names {
		text, err := os.ReadFile(filepath.Join(run, name))
		if err != nil {
			f.Fatal(err)
		}
		lines := strings.SplitAfterN(string(text), "\n", 4)
		if texts[i] = string(text); strings.HasSuffix(name, ".jsonl") { // short ones are changed faster
			texts[i] = strings.Join(lines[:min(len(lines), 3)], "")
		}
	}
	f.Add(texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6])
	f.Add(texts[0], "", "", "", "", "{\"iteration\":1e9}\n", "name: '<script>x</script>'")
	f.Add(`{"classes":[{"class":"</style><script>x</script>"}]}`, `{"map":"javascript:x"}`, "null", "{}", `{"views":[null]}`, "", "")
	for i, name := range names { // its other folders stay
		_ = os.WriteFile(filepath.Join(run, name), []byte(texts[i]), 0o644)
	}
	out := filepath.Join(f.TempDir(), "report.html")
	plain := strings.Count(written(f, run), "<script")
	f.Fuzz(func(t *testing.T, results, scores, objects, curves, gallery, train, config string) {
		for i, text := range []string{results, scores, objects, curves, gallery, train, config} {
			if err := os.WriteFile(filepath.Join(run, names[i]), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Write(out, run, "", "test"); err != nil {
			if !strings.Contains(err.Error(), run) {
				t.Errorf("have %q, want the file in it", err)
			}
			return
		}
		html, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(html), "<script"); n > plain {
			t.Errorf("have %d scripts, want %d", n, plain)
		}
		for _, found := range outside.FindAllStringSubmatch(string(html), -1) {
			if !strings.HasPrefix(found[3], "data:image/") && found[3] != "data:," {
				t.Errorf("the report fetches %.80q", found[0])
			}
		}
	})
}
