package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/unicode/norm"
)

// canonical returns a name in composed form (NFC). Names that are canonically equivalent look the same and mean the
// same: macOS and archives made there store "ä" as "a" and a combining mark (NFD).
func canonical(name string) string { return norm.NFC.String(name) }

// Canonical returns a name as classes, objects and cameras have it: in composed form.
func Canonical(name string) string { return canonical(name) }

// apart quotes two names for a message; with code points if they would look the same.
func apart(a, b string) (string, string) {
	if a != b && canonical(a) == canonical(b) {
		return strconv.QuoteToASCII(a), strconv.QuoteToASCII(b)
	}
	return strconv.Quote(a), strconv.Quote(b)
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// plainText returns a text file without its byte order mark, from UTF-16 to UTF-8 if the mark says so, and with line
// feeds if its lines end in carriage returns alone. Whether it is UTF-8 is not checked.
func plainText(data []byte) ([]byte, error) {
	data, marked := bytes.CutPrefix(data, []byte("\xef\xbb\xbf"))
	if !marked && (bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))) {
		var err error
		if data, err = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder().Bytes(data); err != nil {
			return nil, fmt.Errorf("have UTF-16 that cannot be read: %w", err)
		}
	}
	if !bytes.ContainsRune(data, '\n') {
		data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	}
	return data, nil
}

// checkText returns an error that names the line of the first byte that is not text in UTF-8.
func checkText(data []byte) error {
	line := 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			return fmt.Errorf("line %d: have the byte %#02x, which is not UTF-8; save the file as UTF-8", line, rest[0])
		case r == 0:
			return errors.New("line " + strconv.Itoa(line) + ": have a zero byte, want text in UTF-8")
		case r == '\n':
			line++
		}
		rest = rest[size:]
	}
	return nil
}

// find returns the file or folder that a path names: the path itself, or the canonically equivalent one that exists. A
// path that exists under its own name, or in ASCII, costs nothing more.
func (w *walker) find(path string) string {
	if isASCII(path) || w.stat(path) == nil {
		return path
	}
	dir, name := filepath.Split(filepath.Clean(path))
	if name == "" {
		return path
	}
	dir = w.find(filepath.Clean(dir))
	if found := w.names(dir)[canonical(name)]; found != "" {
		name = found
	}
	return filepath.Join(dir, name)
}

// names lists what is in dir, by canonical name.
func (w *walker) names(dir string) map[string]string {
	names := w.byName[dir]
	if names == nil {
		names = map[string]string{}
		if f, err := w.read(dir); err == nil { // else there is nothing to find
			for _, name := range slices.Concat(f.folders, f.images, f.others) {
				names[canonical(name)] = name
			}
		}
		w.byName[dir] = names
	}
	return names
}

// slashed returns a path of a table, an index or a list with slashes: a backslash is one, as on Windows, unless a file
// has it in its name. Paths are relative to base.
func (w *walker) slashed(base, name string) string {
	if !strings.Contains(name, `\`) || !hasDrive(name) && w.stat(under(base, name)) == nil {
		return name
	}
	return slashes(name)
}

// slashes turns backslashes into slashes.
func slashes(name string) string { return strings.ReplaceAll(name, `\`, "/") }

// under joins base and a path that is relative to it, or returns an absolute one.
func under(base, name string) string {
	if base == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(base, name)
}

// below returns a path below root, relative to it and without "." and doubled slashes. An absolute path below root is
// one, too, and so is one that leaves root and comes back (../set/0.png).
func (w *walker) below(root, name string) (string, error) {
	below := filepath.Clean(w.slashed(root, name))
	if isAbs := filepath.IsAbs(below); isAbs || strings.HasPrefix(below, "..") {
		abs, err := filepath.Abs(root)
		if !isAbs {
			below = filepath.Join(abs, below)
		}
		if err == nil {
			below, err = filepath.Rel(abs, below)
		}
		if err != nil {
			return "", err
		}
	}
	if !filepath.IsLocal(below) || below == "." || hasDrive(below) {
		return "", fmt.Errorf("have %q, want a path below data.root", name)
	}
	return below, nil
}

// hasDrive reports whether a path begins with a drive letter or a share of Windows.
func hasDrive(name string) bool {
	return strings.HasPrefix(name, `\\`) || len(name) > 2 && name[1] == ':' && strings.ContainsRune(`/\`, rune(name[2])) &&
		('A' <= name[0]&^0x20 && name[0]&^0x20 <= 'Z')
}
