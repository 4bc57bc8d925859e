// Package collect gathers pictures that no index names into objects: from
// files, folders, globs, tables and lists of paths, by the names of the files.
package collect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mvag-torch/dataset"
)

// Options say how pictures belong together.
type Options struct {
	// Pattern is how names of files without their extension are made, as
	// "{object}_{camera}"; see [ParsePattern]. "" takes Real-IAD's names,
	// ..._C<camera>_<time>, and any other picture as an object of its own.
	Pattern string
	Views   int       // cameras of an object
	Class   string    // of all pictures; "" leaves it to pattern, table and Classes
	Classes []string  // names that a Real-IAD file name may begin with
	Stdin   io.Reader // what the argument "-" reads paths from, one a line
}

// Rejected is a picture that belongs to no object.
type Rejected struct {
	Path string
	Err  error
}

// picture is one picture as far as its name or its line in a table tells.
type picture struct {
	path   string
	class  string
	object string // "" where it is an object of its own
	camera int    // from 1; 0 where there is none
}

// Objects returns the pictures that args name, as objects in order of their
// first picture: those with a camera have opt.Views views, those without have
// one. A picture that contradicts the others of its object is rejected; an
// argument that leads to no picture at all is an error.
func Objects(args []string, opt Options) ([]dataset.Object, []Rejected, error) {
	p, err := ParsePattern(opt.Pattern)
	if err != nil {
		return nil, nil, err
	}
	g := grouper{opt: opt, at: map[string]int{}, seen: map[string]bool{}}
	for _, arg := range args {
		if err := g.argument(arg, p); err != nil {
			return nil, nil, err
		}
	}
	return g.objects, g.rejected, nil
}

// argument adds what one argument names.
func (g *grouper) argument(arg string, p *Pattern) error {
	if arg == "-" {
		return g.lines(p)
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		return g.folder(arg, p)
	case strings.EqualFold(filepath.Ext(arg), ".csv"):
		return g.table(arg)
	case err == nil:
		g.name(arg, p)
		return nil
	case !errors.Is(err, fs.ErrNotExist) || !strings.ContainsAny(arg, "*?["):
		return err
	}
	paths, err := filepath.Glob(arg)
	if err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s: have no such file", arg)
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			if err := g.folder(path, p); err != nil {
				return err
			}
			continue
		}
		g.name(path, p)
	}
	return nil
}

// extensions are those of the pictures that a folder is searched for.
var extensions = []string{".jpg", ".jpeg", ".png"}

// folder adds the pictures in and below dir, by name; masks of Real-IAD, which
// lie beside their pictures, are left out.
func (g *grouper) folder(dir string, p *Pattern) error {
	var paths []string
	err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() && slices.Contains(extensions, strings.ToLower(filepath.Ext(path))) && !strings.HasPrefix(d.Name(), ".") {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Sort(paths)
	if len(paths) == 0 {
		return fmt.Errorf("%s: have no picture in the folder, want files named %s", dir, strings.Join(extensions, ", "))
	}
	for _, path := range paths {
		if stem, ok := strings.CutSuffix(path, ".png"); ok {
			if _, picture := slices.BinarySearch(paths, stem+".jpg"); picture {
				continue // its mask
			}
		}
		g.name(path, p)
	}
	return nil
}

// lines adds the paths that standard input has.
func (g *grouper) lines(p *Pattern) error {
	lines := bufio.NewScanner(g.opt.Stdin)
	count := 0
	for lines.Scan() {
		if path := strings.TrimSpace(lines.Text()); path != "" {
			count++
			g.name(path, p)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if count == 0 {
		return errors.New("standard input: have no path")
	}
	return nil
}

// name adds a picture by the name of its file.
func (g *grouper) name(path string, p *Pattern) {
	pic, err := p.match(path)
	if err != nil {
		g.rejected = append(g.rejected, Rejected{path, err})
		return
	}
	if pic.class == "" && p.realiad {
		pic.class = beginning(filepath.Base(path), g.opt.Classes)
	}
	g.add(pic)
}

// beginning is the longest of classes that name begins with, up to a "_".
func beginning(name string, classes []string) string {
	best := ""
	for _, class := range classes {
		if strings.HasPrefix(name, class+"_") && len(class) > len(best) {
			best = class
		}
	}
	return best
}

// grouper makes objects of pictures.
type grouper struct {
	opt      Options
	objects  []dataset.Object
	rejected []Rejected
	at       map[string]int  // place in objects, by class and ID
	seen     map[string]bool // paths
}

func (g *grouper) add(p picture) {
	if g.seen[p.path] {
		return
	}
	g.seen[p.path] = true
	if g.opt.Class != "" {
		p.class = g.opt.Class
	}
	if p.camera == 0 {
		id := p.object
		if id == "" {
			id = p.path
		}
		g.objects = append(g.objects, dataset.Object{Class: p.class, ID: id, Views: []dataset.View{{Path: p.path}}})
		return
	}
	if err := g.place(p); err != nil {
		g.rejected = append(g.rejected, Rejected{p.path, err})
	}
}

// place enters a picture with a camera in its object.
func (g *grouper) place(p picture) error {
	if p.camera > g.opt.Views {
		return fmt.Errorf("camera: have C%d, want C1 to C%d as the model has %d views", p.camera, g.opt.Views, g.opt.Views)
	}
	key := p.class + "\x00" + p.object
	n, ok := g.at[key]
	if !ok {
		n = len(g.objects)
		g.at[key] = n
		o := dataset.Object{Class: p.class, ID: p.object, Views: make([]dataset.View, g.opt.Views)}
		for c := range o.Views {
			o.Views[c].Camera = c
		}
		g.objects = append(g.objects, o)
	}
	v := &g.objects[n].Views[p.camera-1]
	if v.Present() {
		return fmt.Errorf("object %q: have another picture of camera C%d, %q", p.object, p.camera, v.Path)
	}
	v.Path = p.path
	return nil
}
