package dataset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"mvag-torch/configs"
)

// CheckOptions configure Check.
type CheckOptions struct {
	MaskRule string       // of evaluation
	MapSize  configs.Size // of evaluation, in pixels
	Objects  int          // in a training batch
	Workers  int          // goroutines; 0 means one per CPU
	// IndexOnly does not read images and masks.
	IndexOnly bool
	// Progress, if not nil, is called after images have been read, never concurrently.
	Progress func(done, total int)
}

// Counts count what a class or the whole set contains.
type Counts struct {
	Objects          int            `json:"objects"`
	TrainObjects     int            `json:"train_objects"`
	TestObjects      int            `json:"test_objects"`
	DefectiveObjects int            `json:"defective_objects"`
	Images           int            `json:"images"`
	TrainImages      int            `json:"train_images"`
	TestImages       int            `json:"test_images"`
	Good             int            `json:"good_images"`
	Defective        int            `json:"defective_images"`
	Views            int            `json:"views"`   // cameras per object
	Codes            map[string]int `json:"defects"` // images by defect code
	Sizes            map[string]int `json:"sizes"`   // images by "<width>x<height>"
}

// ClassCheck is the result of Check for one class. Findings are lines that name the file or object.
type ClassCheck struct {
	Class string `json:"class"`
	Counts
	Findings map[Finding][]string `json:"findings"`
}

// SetCheck is the result of Check.
type SetCheck struct {
	Classes   []ClassCheck `json:"classes"`
	Total     Counts       `json:"total"`
	IndexOnly bool         `json:"index_only"`
	// Remarks are lines about the whole set: what was passed over, and suspicious names ([Set.Remarks]).
	Remarks    []string   `json:"remarks"`
	PassedOver PassedOver `json:"passed_over"` // all of it
	// Faults are the reasons why training or evaluation would stop.
	Faults []string `json:"faults"`
}

// Check reads all images and masks of a set in parallel, counts them and reports problems. Problems are in the result;
// an error means that the context ended.
func Check(ctx context.Context, set *Set, fit Fit, opt CheckOptions) (*SetCheck, error) {
	fit.Scaled = false // report the sizes of the files
	c := &check{fit: fit, opt: opt, stops: map[stop]error{}}
	c.report = &SetCheck{IndexOnly: opt.IndexOnly, Total: newCounts(), Remarks: set.Remarks(), PassedOver: set.PassedOver}
	byClass := map[string]*ClassCheck{}
	c.report.Classes = make([]ClassCheck, len(set.Classes))
	for i, class := range set.Classes {
		c.report.Classes[i] = ClassCheck{Class: class, Findings: map[Finding][]string{}, Counts: newCounts()}
		byClass[class] = &c.report.Classes[i]
	}
	for _, split := range []struct {
		objects []Object
		train   bool
	}{{set.Train, true}, {set.Test, false}} {
		for i := range split.objects {
			o := &split.objects[i]
			byClass[o.Class].count(o, split.train)
			byClass[o.Class].index(o, split.train)
			c.report.Total.count(o, split.train)
			c.work = append(c.work, work{object: o, class: byClass[o.Class], train: split.train})
		}
	}
	if !opt.IndexOnly {
		if err := c.read(ctx); err != nil {
			return nil, err
		}
	}
	c.finish(set)
	return c.report, nil
}

func newCounts() Counts { return Counts{Codes: map[string]int{}, Sizes: map[string]int{}} }

// count counts an object as the index describes it.
func (c *Counts) count(o *Object, train bool) {
	c.Objects++
	c.Views = max(c.Views, len(o.Views))
	if o.Defective() {
		c.DefectiveObjects++
	}
	objects, images := &c.TestObjects, &c.TestImages
	if train {
		objects, images = &c.TrainObjects, &c.TrainImages
	}
	*objects++
	for _, v := range o.Views {
		switch {
		case !v.Present():
			continue
		case v.Defective():
			c.Defective++
			c.Codes[v.Code]++
		default:
			c.Good++
		}
		c.Images++
		*images++
	}
}

// index adds the problems that the index shows.
func (c *ClassCheck) index(o *Object, train bool) {
	for _, v := range o.Views {
		if !v.Present() {
			c.add(MissingViews, MissingView{o.ID, v.Camera}.String())
		}
		if v.Defective() && train {
			c.add(Contaminated, printable(v.Path))
		}
		if v.Defective() && v.Mask == "" {
			c.add(NoMask, printable(v.Path))
		}
	}
}

func (c *ClassCheck) add(kind Finding, line string) {
	c.Findings[kind] = append(c.Findings[kind], line)
}

// check is the state of Check.
type check struct {
	fit    Fit
	opt    CheckOptions
	work   []work
	report *SetCheck
	stops  map[stop]error // the first problem of a kind in a class that data.on_error does not skip
}

type stop struct {
	class string
	kind  Finding
}

// work is one object and what was read of it.
type work struct {
	object *Object
	class  *ClassCheck
	train  bool
	views  []viewCheck // of the views that have an image
}

// viewCheck is the result for one image.
type viewCheck struct {
	path, code    string
	size          string
	hash          [sha256.Size]byte
	bits, highest int // of a 16-bit image: the bits it was read at, and its highest value
	problems      []problem
}

// problem is a finding about one file.
type problem struct {
	kind Finding
	line string
}

func (v *viewCheck) add(kind Finding, line string) {
	v.problems = append(v.problems, problem{kind, line})
}

// label is the defect code, or good.
func (v viewCheck) label() string { return printable(cmp.Or(v.code, "good")) }

// read reads the images of all objects.
func (c *check) read(ctx context.Context) error {
	total, done := 0, 0
	for i := range c.work {
		total += c.work[i].object.present()
	}
	return parallel(ctx, c.opt.Workers, len(c.work), func(i int) (int, error) {
		c.object(&c.work[i])
		return len(c.work[i].views), nil
	}, func(n int) {
		done += n
		if c.opt.Progress != nil {
			c.opt.Progress(done, total)
		}
	})
}

// object reads the images and masks of one object.
func (c *check) object(w *work) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	for _, v := range w.object.Views {
		if v.Present() {
			w.views = append(w.views, c.view(s, v))
		}
	}
}

// view decodes an image and its mask.
func (c *check) view(s *scratch, v View) viewCheck {
	found := viewCheck{path: v.Path, code: v.Code}
	r, err := c.fit.readImage(s, v)
	if err == nil {
		err = c.fit.checkSize(v, r.w, r.h)
	}
	if err != nil {
		found.add(Unreadable, err.Error())
		return found
	}
	found.hash = sha256.Sum256(s.file) // the file just read
	found.size = fmt.Sprintf("%dx%d", r.w, r.h)
	if seen := c.fit.traits(r); v.Part == 0 { // parts of a strip share a file
		found.bits, found.highest = seen.Bits, seen.Highest
		for _, kind := range seen.Findings {
			found.add(kind, kind.line(v, r))
		}
	}
	if v.Mask != "" {
		c.mask(s, v, &found)
	}
	return found
}

// mask decodes the mask of v, whose image is in memory of s.
func (c *check) mask(s *scratch, v View, found *viewCheck) {
	m, err := c.fit.readMask(s, v, s.file)
	var size *sizeError
	switch {
	case errors.As(err, &size):
		found.add(MaskSize, err.Error())
		return
	case err != nil:
		found.add(Unreadable, err.Error())
		return
	}
	for _, kind := range m.kinds {
		found.add(kind, printable(v.Mask))
	}
	if !v.Defective() {
		return
	}
	if m.marked == 0 {
		found.add(EmptyMask, printable(v.Mask))
		return
	}
	plane := s.room(c.fit.Viewport().Area())
	c.fit.draw(s, m.raster, c.fit.area(), []uint8{0}, plane)
	if !slices.Contains(c.fit.byRules(s, plane, m.full.X, m.full.Y, c.opt.MapSize)[c.opt.MaskRule], true) {
		found.add(Cropped, printable(v.Mask))
	}
}

// finish adds what was read to the classes, in order, and computes the total.
func (c *check) finish(set *Set) {
	trained := map[[sha256.Size]byte]string{}
	labelled := map[[sha256.Size]byte]viewCheck{} // the first image of each content
	for i := range c.work {
		w := &c.work[i]
		for j, v := range w.views {
			for _, p := range v.problems {
				w.class.add(p.kind, p.line)
				key := stop{w.class.Class, p.kind}
				if (p.kind == Unreadable || p.kind == MaskSize) && c.stops[key] == nil {
					c.stops[key] = set.Source.Skip(View{Path: v.path}, errors.New(p.line))
				}
			}
			if v.size == "" {
				continue
			}
			w.class.Sizes[v.size]++
			c.report.Total.Sizes[v.size]++
			if j > 0 && w.views[j-1].path == v.path {
				continue // parts of a strip share a file
			}
			if first, ok := labelled[v.hash]; !ok {
				labelled[v.hash] = v
			} else if first.code != v.code {
				w.class.add(LabelTwins, fmt.Sprintf("%s (%s) = %s (%s)", printable(v.path), v.label(), printable(first.path), first.label()))
			}
			twin, ok := trained[v.hash]
			switch {
			case w.train && !ok:
				trained[v.hash] = v.path
			case !w.train && ok:
				w.class.add(TrainTestTwins, printable(v.path)+" = "+printable(twin))
			}
		}
	}
	c.unusedBits()
	c.faults(set)
}

// unusedBits looks for classes whose 16-bit images all need fewer bits than they are read at: a single dark image says
// nothing.
func (c *check) unusedBits() {
	need := map[*ClassCheck]int{}
	for _, w := range c.work {
		for _, v := range w.views {
			if v.bits > 0 {
				need[w.class] = max(need[w.class], neededBits(v.highest))
			}
		}
	}
	for _, w := range c.work {
		for _, v := range w.views {
			if n := need[w.class]; v.bits > n && n > 0 {
				w.class.add(UnusedBits, fmt.Sprintf("%s: values up to %d; the class needs %d of %d bits", printable(v.path), v.highest, n, v.bits))
			}
		}
	}
}

// faults lists why training or evaluation would stop.
func (c *check) faults(set *Set) {
	faults := []string{}
	if err := set.CheckTrain(); err != nil {
		faults = append(faults, err.Error())
	} else if n := len(set.Train) * len(c.fit.Tiles()); n < c.opt.Objects {
		faults = append(faults, fmt.Sprintf("train.objects: have a batch of %d, want at most the %d training objects", c.opt.Objects, n))
	}
	for _, class := range c.report.Classes {
		for _, f := range findings {
			if err := c.stops[stop{class.Class, f.kind}]; f.fatal && err != nil {
				faults = append(faults, fmt.Sprintf("class %q: %s: %d; the first: %v", class.Class, f.words, len(class.Findings[f.kind]), err))
			}
		}
	}
	c.report.Faults = faults
}
