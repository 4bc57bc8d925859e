package dataset

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
)

// CollectOptions say how images are grouped.
type CollectOptions struct {
	Naming
	Views   int       // cameras per object; if 1, each image is an object
	Class   string    // class of all images; "" takes it from pattern, table or Classes
	Classes []string  // class names that a Real-IAD file name may begin with
	Stdin   io.Reader // source of paths for the argument "-", one per line
}

// Collected is the result of Collect.
type Collected struct {
	Objects    []Object // in order of their first images
	Rejected   []Rejected
	PassedOver PassedOver
}

// Rejected is an image that cannot be assigned to an object, or whose format cannot be read.
type Rejected struct {
	Path string
	Err  error
}

// PassedOver lists files in folders that were ignored.
type PassedOver struct {
	Masks  []string // PNGs next to a JPEG of the same name, as in Real-IAD
	Hidden []string // files and folders beginning with a dot, and __MACOSX
	Other  []string // files that are not images, or do not have the extension of the pattern
}

// String describes each kind in one line: how many files and the first of them. It is "" if there are none.
func (p PassedOver) String() string {
	var list []string
	for _, kind := range []struct {
		paths []string
		name  string
	}{{p.Masks, "masks next to their images"}, {p.Hidden, "hidden files"}, {p.Other, "other files"}} {
		if n := len(kind.paths); n > 0 {
			list = append(list, fmt.Sprintf("%s: %d (%s)", kind.name, n, printable(kind.paths[0])))
		}
	}
	return strings.Join(list, ", ")
}

// Collect groups images into objects. An argument is an image, a folder, a glob, a table (.csv), or "-" for paths on
// standard input. Images with a camera form objects of opt.Views views; an image without a camera is an object with a
// single view. Images of one object share folder, class and object name; if the pattern has no {object}, the images of
// a folder are one object. An image that conflicts with another one of its object is rejected. An argument without any
// image is an error.
func Collect(args []string, opt CollectOptions) (Collected, error) {
	p, err := newPattern(opt.Pattern)
	if err != nil {
		return Collected{}, fmt.Errorf("pattern: %w", err)
	}
	c := collector{opt: opt, pattern: p, grouper: newGrouper(opt.Views), seen: map[string]bool{}}
	for _, arg := range args {
		if err := c.argument(arg, true); err != nil {
			return Collected{}, err
		}
	}
	c.out.Objects = c.objects
	return c.out, nil
}

// collector is the state of Collect.
type collector struct {
	*grouper
	opt     CollectOptions
	pattern pattern
	out     Collected       // Objects is set at the end
	seen    map[string]bool // paths seen so far
}

// argument adds the images that one argument names. Only arguments that the user typed may be globs or "-".
func (c *collector) argument(arg string, typed bool) error {
	if arg == "-" && typed {
		return c.lines()
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		return c.folder(arg)
	case strings.EqualFold(filepath.Ext(arg), ".csv"):
		return c.table(arg)
	case err == nil || !typed:
		c.image(arg)
		return nil
	case !errors.Is(err, fs.ErrNotExist) || !strings.ContainsAny(arg, "*?["):
		return oneLine(err)
	}
	paths, err := filepath.Glob(arg)
	if err != nil {
		return fmt.Errorf("%s: %w", arg, err)
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s: have no such file", arg)
	}
	for _, path := range paths {
		if err := c.argument(path, false); err != nil {
			return err
		}
	}
	return nil
}

// folder adds the images in and below dir, sorted by path.
func (c *collector) folder(dir string) error {
	var found []string
	err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return oneLine(err)
		case filepath.Clean(path) == filepath.Clean(dir):
		case hidden(d.Name()):
			c.out.PassedOver.Hidden = append(c.out.PassedOver.Hidden, path)
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
		case extensionIn(foreign, path):
			c.reject(path, fmt.Errorf("cannot be read, want one of %s", strings.Join(extensions, ", ")))
		case !isImage(path) || !c.pattern.takes(path):
			c.out.PassedOver.Other = append(c.out.PassedOver.Other, path)
		default:
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		want := strings.Join(extensions, ", ")
		if c.pattern.ext != "" {
			want = c.pattern.ext + ", as the pattern has it"
		}
		return fmt.Errorf("%s: have no image in the folder, want %s", printable(dir), want)
	}
	slices.Sort(found)
	for _, path := range found {
		if c.isMask(path, found) {
			c.out.PassedOver.Masks = append(c.out.PassedOver.Masks, path)
			continue
		}
		c.image(path)
	}
	return nil
}

// isMask reports whether path is a mask as in Real-IAD: a PNG next to a JPEG of the same name.
func (c *collector) isMask(path string, sorted []string) bool {
	stem, png := strings.CutSuffix(path, ".png")
	if !png {
		return false
	}
	for _, ext := range []string{".jpg", ".jpeg"} {
		if _, found := slices.BinarySearch(sorted, stem+ext); found {
			return true
		}
	}
	return false
}

// lines adds the paths on standard input.
func (c *collector) lines() error {
	lines := bufio.NewScanner(c.opt.Stdin)
	count := 0
	for lines.Scan() {
		if path := strings.TrimSpace(lines.Text()); path != "" {
			count++
			c.image(path)
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

// table adds the images of a CSV file with a column path, relative to the folder of the table, and optional columns
// object, camera and class. An image without a camera is an object. Other columns are ignored.
func (c *collector) table(name string) error {
	t, err := readTable(name, []string{"path"}, []string{"object", "camera", "class"}, false)
	if err != nil {
		return err
	}
	for i, row := range t.rows {
		path := row["path"]
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(name), path)
		}
		switch {
		case path == "":
			c.reject(name, fmt.Errorf("line %d: have no path", t.lines[i]))
		case row["camera"] != "" && row["object"] == "":
			c.reject(path, fmt.Errorf("have camera %q without an object", row["camera"]))
		default:
			c.add(path, parts{row["class"], row["object"], row["camera"]})
		}
	}
	return nil
}

// image adds an image by its name. A pattern with folders matches the end of the path. The folder in front of the match
// distinguishes objects of the same name.
func (c *collector) image(path string) {
	dir, name := filepath.Split(filepath.Clean(path))
	for range c.pattern.depth {
		var folder string
		dir, folder = filepath.Split(filepath.Clean(dir))
		name = folder + "/" + name
	}
	within := func(object string) string { return filepath.ToSlash(filepath.Join(dir, object)) }
	if c.pattern.match == nil {
		object, camera, ok := splitRealIAD(path)
		if !ok {
			c.add(path, parts{})
			return
		}
		c.add(path, parts{beginning(name, c.opt.Classes), within(object), camera})
		return
	}
	p, err := c.pattern.split(name)
	if err != nil {
		c.reject(path, err)
		return
	}
	p.object = within(p.object)
	c.add(path, p)
}

// beginning returns the longest class that name begins with, followed by "_".
func beginning(name string, classes []string) string {
	best := ""
	for _, class := range classes {
		if strings.HasPrefix(name, class+"_") && len(class) > len(best) {
			best = class
		}
	}
	return best
}

func (c *collector) reject(path string, err error) {
	c.out.Rejected = append(c.out.Rejected, Rejected{path, err})
}

// add adds an image unless it has been added already.
func (c *collector) add(path string, p parts) {
	if c.seen[path] {
		return
	}
	c.seen[path] = true
	if c.opt.Class != "" {
		p.class = c.opt.Class
	}
	if p.camera == "" || c.opt.Views == 1 {
		id := p.object
		if id == "" || p.camera != "" {
			id = path
		}
		c.objects = append(c.objects, Object{Class: p.class, ID: id, Views: []View{{Path: path}}})
		return
	}
	camera, err := c.opt.index(p.camera)
	if err == nil {
		err = c.put(p.class, p.object, camera, View{Path: path})
	}
	if err != nil {
		c.reject(path, err)
	}
}
