package score

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/eval/report"
)

// Found is the result of a folder of maps.
type Found struct {
	Results report.Results
	Images  []Image
	Objects []Object
	Curves  []Curve
	// Notes are lines on what is scored as it stands and may not be meant, and on what is not read.
	Notes []string
}

// protocol is the head of results.json for maps that come from files.
type protocol struct {
	Data        string  `json:"data"`
	MaskRule    string  `json:"mask_rule"`
	ImageScore  string  `json:"image_score"`
	Top         float64 `json:"top"`
	ObjectScore string  `json:"object_score"`
	AuproLimit  float64 `json:"aupro_limit"`
	Mean        string  `json:"mean"`
	EmptyMasks  int     `json:"empty_masks"` // images that are labelled defective
	// Findings count images by what is noticed of them, see kinds.
	Findings map[string]int      `json:"findings"`
	Unread   []string            `json:"unread"` // files of the folder, and members of tables
	Excluded map[string][]string `json:"excluded"`
}

// Folder scores the maps of every class in a folder (docs/format/maps.md), in order of names. Progress is called with
// the number of images scored so far, one call at a time. Errors name the file.
func Folder(ctx context.Context, folder string, opt Options, progress func(class string, done, total int)) (Found, error) {
	names, unread, err := list(folder)
	if err != nil {
		return Found{}, err
	}
	var classes []*source
	defer func() {
		for _, s := range classes {
			s.close()
		}
	}()
	total := 0
	for _, name := range names {
		s, err := open(folder, name)
		if err != nil {
			return Found{}, err
		}
		classes = append(classes, s)
		total += len(s.rows)
	}
	p := protocol{
		Data: "maps", MaskRule: "not zero", ImageScore: "of the table, else mean of the top fraction of map pixels", Top: opt.Top,
		ObjectScore: "max over views", AuproLimit: opt.AuproLimit, Mean: "plain mean over classes", Findings: map[string]int{}, Unread: unread,
	}
	var out Found
	if len(unread) > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%s: %d files are not read: %s", folder, len(unread), some(unread)))
	}
	done := 0
	for _, s := range classes {
		r, err := s.evaluate(ctx, opt, func(n int) { progress(s.name, done+n, total) })
		if err != nil {
			return Found{}, err
		}
		done += len(s.rows)
		out.Notes = append(out.Notes, s.findings(p.Findings)...)
		if len(s.unread) > 0 {
			out.Notes = append(out.Notes, fmt.Sprintf("%s: members of the table that are not read: %s", s.name, some(s.unread)))
			p.Unread = append(p.Unread, s.unread...)
		}
		out.Results.Classes = append(out.Results.Classes, r.Class)
		out.Images, out.Objects = append(out.Images, r.Images...), append(out.Objects, r.Objects...)
		out.Curves = append(out.Curves, r.Curve)
	}
	p.EmptyMasks = p.Findings[noMask] + p.Findings[badEmpty]
	p.Excluded = out.Results.Excluded()
	out.Results.Protocol = p
	return out, nil
}

// list returns the names of the classes in a folder, as in names of files, and the files that belong to none. A file
// that would be of a class without maps is an error.
func list(folder string) (names, unread []string, err error) {
	entries, err := os.ReadDir(folder) // by name
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), MapsSuffix); ok {
			names = append(names, name)
		}
	}
	for _, entry := range entries {
		file := entry.Name()
		masks, ofMasks := strings.CutSuffix(file, MasksSuffix)
		table, ofTable := strings.CutSuffix(file, TableSuffix)
		switch {
		case strings.HasSuffix(file, MapsSuffix), ofMasks && slices.Contains(names, masks), ofTable && slices.Contains(names, table):
		case ofMasks:
			return nil, nil, fmt.Errorf("%s: have masks, want %s beside them", filepath.Join(folder, file), masks+MapsSuffix)
		default:
			unread = append(unread, file)
		}
	}
	if len(names) == 0 {
		have := ""
		if len(unread) > 0 {
			have = "; have " + some(unread)
		}
		return nil, nil, fmt.Errorf("%s: have no file *%s%s", folder, MapsSuffix, have)
	}
	return names, unread, nil
}

// some joins the first of names.
func some(names []string) string {
	const most = 5
	text := fmt.Sprintf("%.300s", strings.Join(names[:min(most, len(names))], ", "))
	if n := len(names) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
