package dataset

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// errWritten says why an image is not read.
var errWritten = errors.New("was written by mvag-torch, want an image of a camera")

// isTruth reports whether a folder of that name contains masks, not images.
func isTruth(name string) bool {
	return slices.Contains([]string{"ground_truth", "masks"}, strings.ToLower(name))
}

// folder adds the images in and below dir, sorted by path. A folder of masks is passed over unless the user typed it.
func (c *collector) folder(dir string, typed bool) error {
	switch name := filepath.Base(dir); {
	case isTruth(name) && !typed:
		c.over.add(OverTruth, dir)
		return nil
	case c.isOutput(dir) && typed:
		return fmt.Errorf("%s: %w", printable(dir), errWritten)
	}
	found, rejected := []string(nil), len(c.out.Rejected)
	if err := c.search(dir, nil, &found); err != nil {
		return err
	}
	if len(found) == 0 && len(c.out.Rejected) == rejected {
		if !typed {
			if !c.isOutput(dir) {
				c.over.add(OverEmpty, dir)
			}
			return nil
		}
		want := strings.Join(extensions, ", ")
		if c.pattern.ext != "" && c.opt.Views > 1 {
			want = c.pattern.ext + ", as the pattern has it"
		}
		return fmt.Errorf("%s: have no image in the folder, want %s", printable(dir), want)
	}
	slices.Sort(found)
	for _, path := range found {
		if c.isMask(path) {
			c.over.add(OverMasks, path)
			continue
		}
		c.image(path)
	}
	return nil
}

// search lists the images in and below dir.
func (c *collector) search(dir string, via trail, found *[]string) error {
	f, err := c.read(dir)
	if err != nil {
		return err
	}
	if f.written {
		c.over.add(OverWritten, dir)
		return nil
	}
	c.over.add(OverHidden, joined(dir, f.hidden)...)
	c.over.add(OverOther, joined(dir, f.others)...)
	for _, path := range joined(dir, f.foreign) {
		c.reject(path, fmt.Errorf("cannot be read, want one of %s", strings.Join(extensions, ", ")))
	}
	for _, path := range joined(dir, f.images) {
		if c.opt.Views == 1 || c.pattern.takes(path) {
			*found = append(*found, path)
		} else {
			c.over.add(OverOther, path)
		}
	}
	for _, name := range f.folders {
		path, to := filepath.Join(dir, name), via
		if isTruth(name) {
			c.over.add(OverTruth, path)
			continue
		}
		if slices.Contains(f.links, name) {
			var circular bool
			if to, circular = via.follow(dir, name); circular {
				c.over.add(OverLoops, path)
				continue
			}
		}
		if err := c.search(path, to, found); err != nil {
			return err
		}
	}
	return nil
}

// stems are the names of the images of a folder without extension.
type stems struct{ jpeg, all map[string]bool }

func stemsOf(images []string) stems {
	s := stems{map[string]bool{}, map[string]bool{}}
	for _, name := range images {
		s.all[trimExt(name)] = true
		if extensionIn([]string{".jpg", ".jpeg", ".jpe", ".jfif"}, name) {
			s.jpeg[trimExt(name)] = true
		}
	}
	return s
}

// mask reports whether an image of the folder is the mask of another.
func (s stems) mask(name string) bool {
	stem := trimExt(name)
	image, marked := strings.CutSuffix(stem, "_mask")
	return strings.EqualFold(path.Ext(name), ".png") && s.jpeg[stem] || marked && s.all[image]
}

// Masks are those of the images of a folder, given by their names in it, that are masks of images next to them: a PNG of the
// name of a JPEG, as in Real-IAD, or an image with _mask appended to the name of another.
func Masks(images []string) []string {
	s := stemsOf(images)
	return slices.DeleteFunc(slices.Clone(images), func(name string) bool { return !s.mask(name) })
}

// isMask reports whether an image is the mask of one next to it ([Masks]).
func (c *collector) isMask(file string) bool {
	dir := filepath.Dir(file)
	s, ok := c.stems[dir]
	if !ok {
		f, _ := c.read(dir) // what cannot be read has no images
		s = stemsOf(f.images)
		c.stems[dir] = s
	}
	return s.mask(filepath.Base(file))
}

// isOutput reports whether dir is a folder of images that a command of this program wrote.
func (c *collector) isOutput(dir string) bool {
	written, known := c.outputs[dir]
	if !known {
		_, err := os.Stat(filepath.Join(dir, resultsMark))
		written = err == nil || unmarkedResults(dir)
		c.outputs[dir] = written
	}
	return written
}
