package configs

import (
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Formats are the values of data.format. Package dataset has a reader for each.
var Formats = []string{"realiad", "realiad_variety", "mvtec", "visa", "manta", "folder", "table"}

const (
	maxSide   = 8192 // of a resized image or a map, in pixels
	maxViews  = 64
	maxQueue  = 1024 // threads, goroutines or batches
	numLayers = 8    // of every architecture's default
)

// Validate returns everything wrong with c as an [*Error], each fault with its YAML path: "train.warmup: have 500, want
// less than train.iterations (400)". It does not look at files: whether weights and images exist, and whether the
// architecture has the layers, is checked where they are read. [Parse] and [Load] validate; only a Config built in Go
// needs it.
func (c *Config) Validate() error {
	if faults := c.faults(); len(faults) > 0 {
		return &Error{faults}
	}
	return nil
}

func (c *Config) faults() []Fault {
	var k checker
	k.run(c)
	k.backbone(&c.Backbone, c.numLayers())
	k.data(&c.Data, c.Backbone.patch())
	k.model(c)
	k.train(&c.Train)
	k.between("memory.codes", c.Memory.Codes, 0, maxSide)
	k.between("memory.dims", c.Memory.Dims, 1, maxSide)
	k.eval(c)
	k.among("inspect.head", c.Inspect.Head, "both", "reconstruction", "memory")
	return k.list
}

var device = regexp.MustCompile(`^(auto|cpu|cuda|cuda:(0|[1-9][0-9]?))$`)

func (k *checker) run(c *Config) {
	k.name("name", c.Name)
	k.text("output", c.Output)
	k.check(c.Seed >= 0, "seed", c.Seed, "at least 0")
	k.check(device.MatchString(c.Device), "device", c.Device, "auto, cpu, cuda or cuda:N")
	k.between("threads", c.Threads, 0, maxQueue)
	k.among("precision", c.Precision, "fp32", "tf32", "bf16", Auto)
}

func (k *checker) backbone(b *Backbone, n int) {
	k.among("backbone.mode", b.Mode, "native", "module")
	k.text("backbone.name", b.Name)
	k.text("backbone.weights", b.Weights)
	if b.Prefix != "" && k.text("backbone.prefix", b.Prefix) {
		k.check(!strings.ContainsAny(b.Prefix, " *?/"), "backbone.prefix", b.Prefix, "a part of names, such as teacher.backbone.")
	}
	ascending := true
	for i, l := range b.Layers {
		ascending = ascending && l >= 0 && (i == 0 || l > b.Layers[i-1])
	}
	k.check(ascending, "backbone.layers", b.Layers, "block numbers from 0 in ascending order")

	if b.Mode == "module" {
		k.check(len(b.Layers) == 0, "backbone.layers", b.Layers, "none with backbone.mode module: the archive has its layers")
	}
	if len(b.Fuse) == 0 {
		return // the default fits any number
	}
	groups := make([]int, n) // number of groups that contain each index
	for _, group := range b.Fuse {
		k.check(len(group) > 0, "backbone.fuse", b.Fuse, "no empty group")
		for _, pos := range group {
			if pos < 0 || pos >= n {
				k.fault("backbone.fuse", b.Fuse, fmt.Sprintf("indices from 0 to %d, not %d", n-1, pos))
				return
			}
			groups[pos]++
		}
	}
	for pos, count := range groups {
		if count != 1 {
			k.fault("backbone.fuse", b.Fuse, fmt.Sprintf("each index in one group (index %d is in %d)", pos, count))
			return
		}
	}
}

// numLayers returns the number of encoder layers: 8 by default, for every architecture. With backbone.mode module it is
// that of the decoder, which is compared with the archive when that is read.
func (c *Config) numLayers() int {
	switch {
	case c.Backbone.Mode == "module":
		return max(1, min(c.Model.DecoderDepth, maxQueue))
	case len(c.Backbone.Layers) == 0:
		return numLayers
	}
	return len(c.Backbone.Layers)
}

var patchSize = regexp.MustCompile(`_patch([1-9][0-9]?)(_|$)`)

// patch returns the patch size in pixels, which is part of timm's names; 1 if a name has none.
func (b *Backbone) patch() int {
	name, _, _ := strings.Cut(b.Name, ".")
	if m := patchSize.FindStringSubmatch(name); m != nil {
		side, _ := strconv.Atoi(m[1]) // two digits
		return side
	}
	return 1
}

func (k *checker) data(d *Data, patch int) {
	k.among("data.format", d.Format, Formats...)
	k.text("data.root", d.Root)
	k.below("data.index", d.Index)
	k.below("data.images", d.Images)
	k.layout(d)
	for i, class := range d.Classes {
		k.name(fmt.Sprintf("data.classes[%d]", i), class)
		if first := slices.Index(d.Classes, class); first < i {
			k.fault(fmt.Sprintf("data.classes[%d]", i), class, fmt.Sprintf("each class once (it is data.classes[%d])", first))
		}
	}
	k.between("data.views", d.Views, 1, maxViews)
	k.fit(d, patch)
	bits, err := strconv.Atoi(d.Bits)
	k.check(d.Bits == "auto" || err == nil && bits >= 8 && bits <= 16 && strconv.Itoa(bits) == d.Bits, "data.bits", d.Bits, "8 to 16 or auto")
	k.among("data.decode", d.Decode, "exact", "scaled")
	k.among("data.on_error", d.OnError, "stop", "skip")
	k.check(d.MaxUnreadable > 0 && d.MaxUnreadable <= 1, "data.max_unreadable", d.MaxUnreadable, "more than 0, at most 1")
	if d.Cache != "" {
		k.text("data.cache", d.Cache)
	}
	k.between("data.workers", d.Workers, 0, maxQueue)
	k.between("data.prefetch", d.Prefetch, 1, maxQueue)
}

// fit checks how images come to the size of the model.
func (k *checker) fit(d *Data, patch int) {
	k.among("data.fit", d.Fit, "squash", "pad", "tiles")
	resize, crop := d.Resize, d.Crop
	for _, side := range resize {
		k.check(side >= patch && side <= maxSide, "data.resize", resize, fmt.Sprintf("%d to %d", patch, maxSide))
	}
	k.check(crop[0] <= resize[0] && crop[1] <= resize[1], "data.crop", crop, fmt.Sprintf("at most data.resize (%v)", resize))
	k.check(min(crop[0], crop[1]) > 0 && crop[0]%patch == 0 && crop[1]%patch == 0,
		"data.crop", crop, fmt.Sprintf("a multiple of the patch size (%d)", patch))
	k.check(d.Overlap >= 0 && d.Overlap <= 0.75, "data.overlap", d.Overlap, "at least 0, at most 0.75")
}

// layout checks the keys that only some formats have.
func (k *checker) layout(d *Data) {
	k.below("data.good", d.Good)
	for _, p := range [][2]string{{"data.table", d.Table}, {"data.bad", d.Bad}, {"data.masks", d.Masks}} {
		if p[1] != "" {
			k.below(p[0], p[1])
		}
	}
	if d.Pattern != "" && k.text("data.pattern", d.Pattern) {
		rest := strings.Replace(strings.Replace(d.Pattern, "{object}", "o", 1), "{camera}", "c", 1)
		k.check(strings.Contains(d.Pattern, "{object}") && !strings.ContainsAny(rest, "{}") && fs.ValidPath(rest),
			"data.pattern", d.Pattern, "{object} once and {camera} at most once, as {object}_{camera}.jpg")
	}
	k.check(d.Holdout >= 0 && d.Holdout < 1, "data.holdout", d.Holdout, "at least 0, less than 1")
	k.check(d.Format != "table" || d.Table != "", "data.table", d.Table, "a CSV file below data.root with data.format table")
}

func (k *checker) model(c *Config) {
	m := &c.Model
	k.check(m.DecoderDepth == c.numLayers(), "model.decoder_depth", m.DecoderDepth,
		fmt.Sprintf("the number of backbone.layers (%d)", c.numLayers()))
	k.fraction("model.dropout", m.Dropout)
	k.fraction("model.keep", m.Keep)
	k.among("model.select", m.Select, "lowest", "highest", "all")
	k.check(m.NeighborMask == 0 || m.NeighborMask > 0 && m.NeighborMask%2 == 1,
		"model.neighbor_mask", m.NeighborMask, "0 or an odd number")
	k.positive("model.eps", m.Eps)
	for i := range m.Jitter.Scale {
		k.notNegative(fmt.Sprintf("model.jitter.scale[%d]", i), m.Jitter.Scale[i])
		k.fraction(fmt.Sprintf("model.jitter.prob[%d]", i), m.Jitter.Prob[i])
	}
}

func (k *checker) train(t *Train) {
	k.atLeast("train.iterations", t.Iterations, 1)
	k.atLeast("train.warmup", t.Warmup, 0)
	k.check(t.Warmup < t.Iterations, "train.warmup", t.Warmup, fmt.Sprintf("less than train.iterations (%d)", t.Iterations))
	k.atLeast("train.objects", t.Objects, 1)
	k.positive("train.lr", t.LR)
	k.notNegative("train.lr_final", t.LRFinal)
	k.check(!(t.LRFinal > t.LR), "train.lr_final", t.LRFinal, fmt.Sprintf("at most train.lr (%v)", t.LR))
	k.notNegative("train.weight_decay", t.WeightDecay)
	k.positive("train.clip", t.Clip)
	k.fraction("train.hard_fraction", t.HardFraction)
	k.atLeast("train.hard_warmup", t.HardWarmup, 1)
	k.fraction("train.easy_scale", t.EasyScale)
	k.check(t.Holdout >= 0 && t.Holdout < 1, "train.holdout", t.Holdout, "at least 0, less than 1")
	k.among("train.cache_features", t.CacheFeatures, "off", "ram", "disk", Auto)
	k.among("train.all_reduce", t.AllReduce, "float32", "bfloat16")
	k.among("train.on_nan", t.OnNaN, "stop", "skip")
	k.atLeast("train.log_every", t.LogEvery, 1)
	k.atLeast("train.checkpoint_every", t.CheckpointEvery, 1)
}

func (k *checker) eval(c *Config) {
	e := &c.Eval
	k.atLeast("eval.objects", e.Objects, 1)
	k.between("eval.map_size", e.MapSize, 1, maxSide)
	k.check(e.Blur.Size > 0 && e.Blur.Size%2 == 1, "eval.blur.size", e.Blur.Size, "an odd number")
	if e.MapSize > 0 && e.MapSize <= maxSide && c.Data.Viewport().Area() > 0 {
		k.mapSize(c)
	}
	k.positive("eval.blur.sigma", e.Blur.Sigma)
	k.check(e.Top > 0 && e.Top <= 1, "eval.top", e.Top, "more than 0, at most 1")
	k.among("eval.mask_rule", e.MaskRule, "gt0", "gt0.5")
	k.check(e.AuproLimit > 0 && e.AuproLimit <= 1, "eval.aupro_limit", e.AuproLimit, "more than 0, at most 1")
	k.check(e.FalseAlarm > 0 && e.FalseAlarm <= 0.5, "eval.false_alarm", e.FalseAlarm, "more than 0, at most 0.5")
}

// mapSize checks what depends on the size of a map.
func (k *checker) mapSize(c *Config) {
	size, blur := c.MapSize(), c.Eval.Blur.Size
	k.check(blur <= min(size[0], size[1]), "eval.blur.size", blur, fmt.Sprintf("at most the shorter side of the map (%d)", min(size[0], size[1])))
	want := fmt.Sprintf("at least one of the %d pixels of a map", size.Area())
	if c.Data.Fit == "tiles" {
		want = fmt.Sprintf("at least one of the %.2g pixels of a map that a tile has; set a larger eval.map_size", c.Top()/c.Eval.Top*float64(size.Area()))
	}
	k.check(!(c.Eval.Top > 0) || c.Top()*float64(size.Area()) >= 1, "eval.top", c.Eval.Top, want)
}

// checker collects faults. Comparisons are written so that NaN fails them.
type checker struct {
	list []Fault
}

func (k *checker) fault(path string, have any, want string) {
	k.list = append(k.list, Fault{Path: path, Msg: fmt.Sprintf("have %s, want %s", show(have), want)})
}

func (k *checker) check(ok bool, path string, have any, want string) {
	if !ok {
		k.fault(path, have, want)
	}
}

func (k *checker) atLeast(path string, v, least int) {
	k.check(v >= least, path, v, fmt.Sprintf("at least %d", least))
}

func (k *checker) between(path string, v, least, most int) {
	k.check(v >= least && v <= most, path, v, fmt.Sprintf("%d to %d", least, most))
}

func (k *checker) positive(path string, v float64) {
	k.check(v > 0 && !math.IsInf(v, 0), path, v, "a finite number more than 0")
}

func (k *checker) notNegative(path string, v float64) {
	k.check(v >= 0 && !math.IsInf(v, 0), path, v, "a finite number, at least 0")
}

func (k *checker) fraction(path string, v float64) {
	k.check(v >= 0 && v <= 1, path, v, "0 to 1")
}

func (k *checker) among(path, v string, known ...string) {
	last := len(known) - 1
	k.check(slices.Contains(known, v), path, v, strings.Join(known[:last], ", ")+" or "+known[last])
}

// text wants something that can stand in YAML, a path and a line of a log.
func (k *checker) text(path, v string) bool {
	ok := v != "" && utf8.ValidString(v) && !strings.ContainsFunc(v, func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) || r == '\uFEFF' || r == utf8.RuneError
	})
	k.check(ok, path, v, "text in UTF-8 without control characters")
	return ok
}

// name wants the name of one file or folder.
func (k *checker) name(path, v string) {
	if k.text(path, v) {
		k.check(!strings.ContainsAny(v, `/\`) && v != "." && v != "..", path, v, "a name without path separators")
	}
}

// below wants a path that stays below the folder it is relative to.
func (k *checker) below(path, v string) {
	if k.text(path, v) {
		k.check(filepath.IsLocal(v), path, v, "a path that stays below data.root")
	}
}

// show formats a value as in YAML, shortened.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case []int, [][]int:
		text := strings.ReplaceAll(fmt.Sprint(v), " ", ", ")
		if len(text) > 80 {
			text = text[:80] + "…"
		}
		return text
	}
	return fmt.Sprint(v)
}
