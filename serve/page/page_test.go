package page

import (
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ask asks the handler, with a tag that the browser has, "" for none.
func ask(t *testing.T, method, path, tag string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func TestHandler(t *testing.T) {
	answer, html := ask(t, "GET", "/", "")
	if answer.StatusCode != 200 || answer.Header.Get("Cache-Control") != "no-cache" || answer.Header.Get("Content-Security-Policy") != Policy {
		t.Errorf("/: have %d, %v", answer.StatusCode, answer.Header)
	}
	if again, body := ask(t, "GET", "/", answer.Header.Get("ETag")); again.StatusCode != 304 || body != "" {
		t.Errorf("/ of the same tag: have %d and %d bytes, want 304", again.StatusCode, len(body))
	}
	script := regexp.MustCompile(`src="(static/[^"]+/app\.js)"`).FindStringSubmatch(html)
	if script == nil {
		t.Fatalf("have no app.js in\n%s", html)
	}
	folder := "/" + path.Dir(script[1])
	for name, kind := range map[string]string{"app.js": "text/javascript", "page.css": "text/css", "texts.json": "application/json", "icon.svg": "image/svg+xml"} {
		a, body := ask(t, "GET", folder+"/"+name, "")
		if a.StatusCode != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), kind) || a.Header.Get("Cache-Control") != forever || body == "" {
			t.Errorf("%s: have %d, %v", name, a.StatusCode, a.Header)
		}
	}
	for _, c := range []struct {
		name, method, path string
		status             int
	}{
		{"head", "HEAD", "/", 200},
		{"another method", "POST", "/", 405},
		{"another hash", "GET", "/static/0123456789abcdef/app.js", 404},
		{"page by its name", "GET", folder + "/index.html", 404},
		{"folder", "GET", folder + "/", 404},
		{"way out", "GET", folder + "/../../page.go", 404},
		{"elsewhere", "GET", "/v1/objects", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			if a, _ := ask(t, c.method, c.path, ""); a.StatusCode != c.status {
				t.Errorf("%s %s: have %d, want %d", c.method, c.path, a.StatusCode, c.status)
			}
		})
	}
}

// sources are the HTML and the scripts of the page by name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	names, err := fs.Glob(files, "static/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if ext := path.Ext(name); ext == ".html" || ext == ".js" || ext == ".css" {
			text, err := files.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			found[path.Base(name)] = string(text)
		}
	}
	return found
}

// TestNothingInline holds what the policy would forbid, and what would need a network.
func TestNothingInline(t *testing.T) {
	banned := regexp.MustCompile(`(?i)<style|<script>|\sstyle=|\son[a-z]+=["']|javascript:|innerHTML|outerHTML|insertAdjacentHTML|eval\(|new Function|@import|(?-i:\burl\()|https?://`)
	for name, text := range sources(t) {
		for i, line := range strings.Split(text, "\n") {
			if strings.Contains(line, "http://www.w3.org/2000/svg") || strings.Contains(line, "url(#") {
				continue // the name of a format, and a pattern of the same drawing
			}
			if found := banned.FindString(line); found != "" {
				t.Errorf("%s:%d: have %q", name, i+1, found)
			}
		}
	}
}

// TestTexts compares the languages with each other and with what the page asks for.
func TestTexts(t *testing.T) {
	data, err := files.ReadFile("static/texts.json")
	if err != nil {
		t.Fatal(err)
	}
	var texts map[string]map[string]any
	if err := json.Unmarshal(data, &texts); err != nil {
		t.Fatal(err)
	}
	en, de := texts["en"], texts["de"]
	if len(texts) != 2 || len(en) == 0 {
		t.Fatalf("have %d languages and %d texts in English, want two languages", len(texts), len(en))
	}
	for key := range de {
		if _, ok := en[key]; !ok {
			t.Errorf("%s: is in German only", key)
		}
	}
	for key, text := range en {
		if have, want := forms(de[key]), forms(text); !slices.Equal(have, want) {
			t.Errorf("%s: have forms and values %q in German, want %q", key, have, want)
		}
	}
	asked, families, literals := askedFor(t)
	for key, where := range asked {
		if _, ok := en[key]; !ok {
			t.Errorf("%s: asks for %q, which is no text", where, key)
		}
	}
	for key := range en {
		family := slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(key, f) })
		if asked[key] == "" && !family && !literals[key] {
			t.Errorf("%s: is never asked for", key)
		}
	}
	for _, family := range families {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(en)), func(key string) bool { return strings.HasPrefix(key, family) }) {
			t.Errorf("%q: asked for, and no text begins so", family)
		}
	}
}

// forms are the forms of a text, and the values in it, sorted. Text that is missing or empty has none.
func forms(text any) []string {
	value := regexp.MustCompile(`\{\w+\}`)
	switch x := text.(type) {
	case string:
		if x == "" {
			return nil
		}
		found := append(value.FindAllString(x, -1), "text")
		slices.Sort(found)
		return found
	case map[string]any:
		var found []string
		for form, text := range x {
			for _, f := range forms(text) {
				found = append(found, form+" "+f)
			}
		}
		slices.Sort(found)
		return found
	}
	return nil
}

// askedFor returns the keys that the page asks for by name with the file that does, the beginnings of those whose end
// is a value, and all other words in quotes that may be keys.
func askedFor(t *testing.T) (keys map[string]string, families []string, literals map[string]bool) {
	keys, literals = map[string]string{}, map[string]bool{}
	direct := regexp.MustCompile(`\bt\("([^"]+)"\s*[,)]|data-(?:text|label)="([^"]+)"`)
	begins := regexp.MustCompile(`\bt\("([^"]+\.)"\s*\+`)
	word := regexp.MustCompile(`"([a-z]+(?:\.[a-z]+)+)"`)
	for name, text := range sources(t) {
		for _, m := range direct.FindAllStringSubmatch(text, -1) {
			keys[m[1]+m[2]] = name
		}
		for _, m := range begins.FindAllStringSubmatch(text, -1) {
			families = append(families, m[1])
		}
		for _, m := range word.FindAllStringSubmatch(text, -1) {
			literals[m[1]] = true
		}
	}
	return keys, families, literals
}
