package dataset

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Notes collects what is odd about files that were read, by kind. It is safe for concurrent use.
type Notes struct {
	// Depths says that 16-bit images are compared with the bits that they are read at, which takes a look at each of
	// their values.
	Depths bool

	mu    sync.Mutex
	files map[Finding]map[string]bool
	deep  map[int]*deepFiles // by the bits that they are read at
}

// deepFiles are 16-bit images with the highest value of all.
type deepFiles struct {
	files   map[string]bool
	highest int
}

// Noted are the files of one kind.
type Noted struct {
	Files int    `json:"files"`
	First string `json:"first"` // by name
}

// add adds a file to each of kinds. n may be nil.
func (n *Notes) add(file string, kinds []Finding) {
	if n == nil || len(kinds) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.files == nil {
		n.files = map[Finding]map[string]bool{}
	}
	for _, kind := range kinds {
		if n.files[kind] == nil {
			n.files[kind] = map[string]bool{}
		}
		n.files[kind][file] = true
	}
}

// addImage adds a decoded image. n may be nil.
func (n *Notes) addImage(file string, f Fit, r raster) {
	if n != nil && n.Depths && r.deep != nil {
		n.addTraits(file, f.traits(r))
		return
	}
	n.add(file, f.findings(r))
}

// addTraits adds what is known about an image. n may be nil.
func (n *Notes) addTraits(file string, t traits) {
	n.add(file, t.Findings)
	if n == nil || !n.Depths || t.Highest == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deep == nil {
		n.deep = map[int]*deepFiles{}
	}
	if n.deep[t.Bits] == nil {
		n.deep[t.Bits] = &deepFiles{files: map[string]bool{}}
	}
	deep := n.deep[t.Bits]
	deep.files[file] = true
	deep.highest = max(deep.highest, t.Highest)
}

// Files lists the files of each kind, without the 16-bit images of Depths.
func (n *Notes) Files() map[Finding][]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := map[Finding][]string{}
	for kind, files := range n.files {
		list[kind] = slices.Sorted(maps.Keys(files))
	}
	return list
}

// AddFiles adds the files that another process has noted.
func (n *Notes) AddFiles(list map[Finding][]string) {
	for kind, files := range list {
		for _, file := range files {
			n.add(file, []Finding{kind})
		}
	}
}

// Summary counts the files of each kind. 16-bit images that are read at the same number of bits are of kind UnusedBits
// if none of them needs that many.
func (n *Notes) Summary() map[Finding]Noted {
	n.mu.Lock()
	defer n.mu.Unlock()
	summary := map[Finding]Noted{}
	for kind, files := range n.files {
		summary[kind] = notedOf(files)
	}
	for bits, deep := range n.deep {
		if neededBits(deep.highest) < bits {
			AddNoted(summary, map[Finding]Noted{UnusedBits: notedOf(deep.files)})
		}
	}
	return summary
}

func notedOf(files map[string]bool) Noted {
	return Noted{Files: len(files), First: slices.Min(slices.Collect(maps.Keys(files)))}
}

// AddNoted adds the counts of other files to those of summary.
func AddNoted(summary, others map[Finding]Noted) {
	for kind, other := range others {
		one, ok := summary[kind]
		if !ok || other.First < one.First {
			one.First = other.First
		}
		one.Files += other.Files
		summary[kind] = one
	}
}

// NotedLines describes a summary, a line for each kind in the order of the findings of Check.
func NotedLines(summary map[Finding]Noted) []string {
	var lines []string
	for _, f := range findings {
		if one, ok := summary[f.kind]; ok {
			lines = append(lines, fmt.Sprintf("%s: %s; the first: %s", f.words, thousands(one.Files), printable(one.First)))
		}
	}
	return lines
}

// traits are what a file says about its image or mask besides pixels. A cache stores them.
type traits struct {
	Findings []Finding `json:"findings,omitempty"` // what is odd about the file
	Bits     int       `json:"bits,omitempty"`     // of 16-bit images: how many bits their values were taken to use
	Highest  int       `json:"highest,omitempty"`  // of 16-bit images: the highest value, at least 1
}

// findings is what is odd about a decoded image.
func (f Fit) findings(r raster) (list []Finding) {
	if !f.Exif && r.orientation > upright {
		list = append(list, Turned)
	}
	if r.full.X > 0 && f.enlarges(r.full.X, r.full.Y) {
		list = append(list, Enlarged)
	}
	return list
}

// traits describes a decoded image.
func (f Fit) traits(r raster) traits {
	t := traits{Findings: f.findings(r)}
	if r.deep != nil {
		t.Bits, t.Highest = r.bits, max(1, highest(r.deep))
	}
	return t
}

// glance returns the traits of an image. Its pixels are decoded only if they have 16 bits, and taken to use all.
func (s Source) glance(v View) (traits, error) {
	if s.Cache != nil && v.Data == nil {
		m, err := s.Cache.find(kindImage, v)
		if err != nil {
			return traits{}, err
		}
		return m.traits, nil
	}
	memory := scratches.Get().(*scratch)
	defer scratches.Put(memory)
	data, err := v.content(memory)
	if err != nil {
		return traits{}, err
	}
	c, err := codecOf(data)
	if err != nil {
		return traits{}, err
	}
	config, err := c.config(bytes.NewReader(c.readable(data)))
	if err != nil {
		return traits{}, err
	}
	fit := s.Fit
	fit.Bits = fullBits
	r := raster{orientation: orientation(data)}
	if deepModel(config.ColorModel) {
		r, err = fit.decode(memory, data, maxPixels)
	}
	if err == nil {
		r.full.X, r.full.Y, err = fit.size(data, v)
	}
	return fit.traits(r), err
}

// surveyed is the number of training images of a class that a survey looks at.
const surveyed = 16

// survey is what a sample of the training images of a class shows.
type survey struct {
	class   string
	images  int // in the sample
	turned  int // of them: with an EXIF orientation that is not applied
	small   int // of them: enlarged to fill data.resize
	deep    int // of them: with 16 bits
	highest int // value of those
}

// Survey looks at training images of each class, evenly spread over it, and returns what a person should know before
// training: images that EXIF turns, images that are enlarged, and 16-bit images that use fewer bits than data.bits says. Pixels are decoded only
// if they have 16 bits. Files that cannot be read are left out: whatever uses them says so.
func (s *Set) Survey() []string {
	var lines []string
	for _, c := range s.survey() {
		line := func(format string, args ...any) {
			text := fmt.Sprintf(format, args...)
			lines = append(lines, fmt.Sprintf("%s: of %d training images looked at, %s", printable(c.class), c.images, text))
		}
		if c.turned > 0 {
			line("%d have an EXIF orientation that is not applied (data.exif: true applies it)", c.turned)
		}
		if c.small > 0 {
			line("%d are smaller than data.resize (%v) and enlarged to fill it", c.small, s.Source.Fit.Resize)
		}
		have, need := s.Source.bits(c.class), neededBits(c.highest)
		switch {
		case c.deep == 0:
		case s.Source.automatic:
			line("%d have 16 bits and values up to %d, which are read as values of %d bits (data.bits: auto)", c.deep, c.highest, have)
		case need < have:
			line("%d have 16 bits and values up to %d, which are dark if read as values of %d bits (data.bits: %d or auto reads them in full)",
				c.deep, c.highest, have, need)
		}
	}
	return lines
}

// survey looks at the training images once.
func (s *Set) survey() []survey {
	if s.surveys != nil {
		return s.surveys
	}
	s.surveys = make([]survey, len(s.Classes))
	for i, class := range s.Classes {
		views := s.sample(class)
		c := survey{class: class, images: len(views)}
		for _, v := range views {
			seen, err := s.Source.glance(v)
			if err != nil {
				continue
			}
			if slices.Contains(seen.Findings, Turned) {
				c.turned++
			}
			if slices.Contains(seen.Findings, Enlarged) {
				c.small++
			}
			if seen.Highest > 0 {
				c.deep++
				c.highest = max(c.highest, seen.Highest)
			}
		}
		s.surveys[i] = c
	}
	return s.surveys
}

// UseDepths reads 16-bit images of each class at the depth given, those of a model; nil finds the depths in a survey. It
// has no effect unless data.bits is auto.
func (s *Set) UseDepths(depths Depths) {
	if !s.Source.automatic {
		return
	}
	if depths == nil {
		depths = Depths{}
		for _, c := range s.survey() {
			if c.deep > 0 {
				depths[c.class] = neededBits(c.highest)
			}
		}
	}
	s.Source.Depths = depths
	for _, objects := range [][]Object{s.Train, s.Test} {
		for i := range objects {
			for j, v := range objects[i].Views {
				objects[i].Views[j] = s.Source.At(v, objects[i].Class)
			}
		}
	}
}

// sample returns training images of a class, evenly spread.
func (s *Set) sample(class string) []View {
	var all []View
	for i := range s.Train {
		for _, v := range s.Train[i].Views {
			if s.Train[i].Class == class && v.Present() {
				all = append(all, v)
			}
		}
	}
	n := min(surveyed, len(all))
	views := make([]View, n)
	for i := range views {
		views[i] = all[i*len(all)/n]
	}
	return views
}
