package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CollectOptions say how images are grouped.
type CollectOptions struct {
	Naming
	Views   int       // cameras per object; if 1, each image is an object, whatever its name
	Class   string    // class of all images; "" takes it from pattern, table or Classes
	Classes []string  // class names that a Real-IAD file name may begin with
	Good    bool      // images are wanted as good ones: a table whose column label says otherwise is an error
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

// Collect groups images into objects. An argument is an image, a folder, a glob, a table (.csv, .tsv), or "-" for paths
// on standard input. Images with a camera form objects of opt.Views views; an image without a camera is an object with a
// single view. Images of one object share folder, class and object name; if the pattern has no {object}, the images of
// a folder are one object. An image that conflicts with another one of its object is rejected. An argument without any
// image is an error.
func Collect(args []string, opt CollectOptions) (Collected, error) {
	p, err := newPattern(opt.Pattern)
	if err != nil {
		return Collected{}, fmt.Errorf("pattern: %w", err)
	}
	opt.Class = canonical(opt.Class)
	w := newWalker(disk{})
	c := collector{walker: w, grouper: newGrouper(opt.Views), opt: opt, pattern: p,
		out: Collected{PassedOver: w.over}, seen: map[string]bool{}, stems: map[string]stems{}, outputs: map[string]bool{}}
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
	*walker
	*grouper
	opt     CollectOptions
	pattern pattern
	out     Collected        // Objects is set at the end
	seen    map[string]bool  // paths seen so far
	stems   map[string]stems // of images, by folder
	outputs map[string]bool  // whether this program wrote a folder
}

// argument adds the images that one argument names. Only arguments that the user typed may be globs or "-".
func (c *collector) argument(arg string, typed bool) error {
	if arg == "-" && typed {
		return c.lines()
	}
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		return c.folder(arg, typed)
	case extensionIn([]string{".csv", ".tsv"}, arg):
		return c.table(arg)
	case err == nil && !typed && c.isMask(arg):
		c.over.add(OverMasks, arg)
		return nil
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
	before := len(c.seen) + len(c.out.Rejected)
	for _, path := range paths {
		if err := c.argument(path, false); err != nil {
			return err
		}
	}
	if len(c.seen)+len(c.out.Rejected) == before {
		return fmt.Errorf("%s: have no image; passed over: %v", printable(arg), c.over)
	}
	return nil
}

// lines adds the paths on standard input, one a line and perhaps in quotes.
func (c *collector) lines() error {
	data, err := io.ReadAll(io.LimitReader(c.opt.Stdin, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("have more than %d bytes, want paths, one a line", maxFileBytes)
	}
	if err == nil {
		data, err = plainText(data)
	}
	if err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	count := 0
	for line := range strings.Lines(string(data)) {
		if path := strings.TrimSpace(line); path != "" {
			count++
			c.image(c.locate("", path))
		}
	}
	if count == 0 {
		return errors.New("standard input: have no path")
	}
	return nil
}

// locate returns the file that a path in a table or list names, relative to base: with quotes, backslashes and another
// normal form if no file has exactly that name.
func (c *collector) locate(base, name string) string {
	for _, quote := range []string{`"`, "'"} {
		bare, opened := strings.CutPrefix(name, quote)
		bare, closed := strings.CutSuffix(bare, quote)
		if opened && closed && bare != "" && c.stat(under(base, name)) != nil {
			name = bare
		}
	}
	return c.find(under(base, c.slashed(base, name)))
}

// table adds the images of a CSV file with a column path, relative to the folder of the table, and optional columns
// object, camera and class, and label where good images are wanted. An image without a camera is an object. Other
// columns are ignored.
func (c *collector) table(name string) error {
	optional := []string{"object", "camera", "class"}
	if c.opt.Good {
		optional = append(optional, "label")
	}
	t, err := readTable(name, []string{"path"}, optional, false)
	if err == nil {
		err = t.checkGood(name)
	}
	if err != nil {
		return err
	}
	for _, column := range t.unused {
		c.over.add(OverColumns, fmt.Sprintf("%q in %s", column, name))
	}
	for _, line := range t.blank {
		c.over.add(OverRows, fmt.Sprintf("%s:%d", name, line))
	}
	for i, row := range t.rows {
		if row["path"] == "" {
			c.reject(name, fmt.Errorf("line %d: have no path", t.lines[i]))
			continue
		}
		path := c.locate(filepath.Dir(name), row["path"])
		if row["camera"] != "" && row["object"] == "" {
			c.reject(path, fmt.Errorf("have camera %q without an object", row["camera"]))
			continue
		}
		c.add(path, parts{row["class"], row["object"], row["camera"]})
	}
	return nil
}

// checkGood returns an error that names the first row whose column label, if it was read, says that its image is
// defective, and counts all such rows.
func (t *table) checkGood(name string) error {
	count, first := 0, 0
	for i, row := range t.rows {
		if !IsGoodLabel(row["label"]) {
			if count++; count == 1 {
				first = i
			}
		}
	}
	if count == 0 {
		return nil
	}
	return fmt.Errorf("%s:%d: label: have %q, want good images (%s); rows with such labels: %d",
		printable(name), t.lines[first], t.rows[first]["label"], wantGood, count)
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
	within := func(object string) string { return filepath.ToSlash(cmp.Or(filepath.Join(dir, object), ".")) }
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
	switch {
	case err != nil && c.opt.Views == 1: // nothing to group
		c.add(path, parts{})
	case err != nil:
		c.reject(path, err)
	default:
		p.object = within(p.object)
		c.add(path, p)
	}
}

// beginning returns the longest class that name begins with, followed by "_".
func beginning(name string, classes []string) string {
	best := ""
	name = canonical(name)
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

// add adds an image unless it has been added already, or this program wrote it.
func (c *collector) add(path string, p parts) {
	clean := filepath.Clean(path)
	if c.seen[clean] {
		c.over.add(OverTwice, path)
		return
	}
	if c.isOutput(filepath.Dir(clean)) {
		c.reject(path, errWritten)
		return
	}
	c.seen[clean] = true
	p.class = canonical(p.class)
	if c.opt.Class != "" {
		p.class = c.opt.Class
	}
	if p.camera == "" || c.opt.Views == 1 {
		id := canonical(p.object)
		if id == "" || p.camera != "" {
			id = path
		}
		c.objects = append(c.objects, Object{Class: p.class, ID: id, Views: []View{{Path: path}}})
		return
	}
	camera, err := c.opt.Index(p.camera)
	if err == nil {
		err = c.put(p.class, p.object, camera, View{Path: path})
	}
	if err != nil {
		c.reject(path, err)
	}
}
