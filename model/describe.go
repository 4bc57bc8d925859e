package model

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"mvag-torch/model/weights"
)

// Description is what a file of weights is and what becomes of it.
type Description struct {
	File         string         `json:"file"`
	Kind         string         `json:"kind"` // of file
	SHA256       string         `json:"sha256"`
	Types        map[string]int `json:"types,omitempty"`   // tensors of each type
	Elements     int            `json:"elements"`          // in all
	Names        string         `json:"names,omitempty"`   // whose they are
	Prefix       string         `json:"prefix,omitempty"`  // of the encoder's names
	Ignored      []string       `json:"ignored,omitempty"` // tensors that do not belong to it
	Architecture string         `json:"architecture"`      // timm's name, "" if none is known
	Known        string         `json:"known_by"`
	Mode         string         `json:"mode,omitempty"` // native or module: backbone.mode
	Channels     int            `json:"channels,omitempty"`
	Patch        int            `json:"patch,omitempty"`
	Blocks       int            `json:"blocks"` // in the file
	Layers       []int          `json:"layers"` // used
	Mean         [3]float32     `json:"mean"`   // of the input, in [0, 1]
	Std          [3]float32     `json:"std"`
	// Module is what the exporter wrote into the archive, nil where it did not.
	Module  *weights.Module `json:"module,omitempty"`
	Weights string          `json:"weights_sha256,omitempty"` // "ok", or how they differ from Module's
	Fault   string          `json:"fault,omitempty"`          // why the program cannot use it as Architecture
}

// Describe says what a file is. The architecture is name, where that is not "", else what the exporter wrote, else the
// name of the file, else what the shapes look like. layers are those used, its default if empty.
func (b *Backbone) Describe(name string, layers []int) (d Description, err error) {
	d = Description{File: b.Path, Kind: b.Kind, SHA256: b.SHA256, Types: b.Types, Elements: b.Elements, Layers: layers,
		Prefix: b.Names.Prefix, Ignored: b.Ignored}
	if d.Kind == "TorchScript" {
		if d.Module, err = weights.ReadModule(b.Path); err != nil && !errors.Is(err, weights.ErrNoMetadata) {
			return d, err
		}
	}
	if d.Module != nil {
		d.Weights = "ok"
		if have := b.Archive.SHA256(); have != d.Module.SHA256 {
			d.Weights = fmt.Sprintf("have %s, want %s", have, d.Module.SHA256)
		}
	}
	for ; ; d.Blocks++ {
		if _, ok := b.Tensors[fmt.Sprintf("blocks.%d.norm1.weight", d.Blocks)]; !ok {
			break
		}
	}
	d.architecture(b.Tensors, b.Names.Title(), name)
	if b.Fault != nil && d.Mode != "module" {
		d.Fault = b.Fault.Error()
	}
	return d, nil
}

// architecture finds out which it is and whether it fits.
func (d *Description) architecture(m weights.Map, names, name string) {
	file := strings.TrimSuffix(filepath.Base(d.File), filepath.Ext(d.File))
	var arch weights.Arch
	err := errors.New("have no architecture that the program computes")
	for _, try := range [][2]string{{name, "the configuration"}, {d.archiveName(), "the archive"}, {file, "the name of the file"}} {
		if try[0] == "" {
			continue
		}
		parsed, unknown := weights.ParseArch(try[0])
		if unknown == nil {
			arch, err = parsed, nil
			d.Architecture, d.Known = try[0], try[1]
			break
		}
		if try[1] != "the name of the file" { // a name given counts, known or not
			err = unknown
			break
		}
	}
	if guess, ok := weights.Guess(m.Shapes()); err != nil && ok && name == "" && d.Module == nil {
		arch, err = guess, nil
		d.Architecture, d.Known = guess.Name, "the shapes; the statistics of the input depend on the pretraining, which they do not show"
	}
	if err == nil {
		d.Names = names
		d.Mode, d.Channels, d.Patch = "native", arch.Dim, arch.Patch
		d.Mean, d.Std = arch.Statistics()
		if len(d.Layers) == 0 {
			d.Layers = arch.DefaultLayers()
		}
		err = arch.Check(m.Shapes(), d.Layers[len(d.Layers)-1])
		if err == nil {
			err = m.CheckFinite()
		}
	}
	if err != nil && d.Module != nil { // it can be run
		d.Architecture, d.Known, d.Mode = d.Module.Arch, "the archive", "module"
		d.Mean, d.Std, d.Channels, d.Patch, d.Layers = d.Module.Mean, d.Module.Std, d.Module.Channels, d.Module.Patch, nil
		err = nil
	}
	if err != nil {
		d.Fault = err.Error()
	}
}

func (d *Description) archiveName() string {
	if d.Module == nil {
		return ""
	}
	return d.Module.Arch
}

// Write writes d as text, a line a fact.
func (d Description) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(key, format string, values ...any) { fmt.Fprintf(t, key+"\t"+format+"\n", values...) }
	line("file", "%s, %s", d.File, d.Kind)
	line("sha256", "%s", d.SHA256)
	var types []string
	for dtype, n := range d.Types {
		types = append(types, fmt.Sprintf("%d of %s", n, dtype))
	}
	slices.Sort(types)
	line("tensors", "%s; %.1f million elements", strings.Join(types, ", "), float64(d.Elements)/1e6)
	if d.Architecture != "" {
		line("architecture", "%s, by %s", d.Architecture, d.Known)
		line("backbone.mode", "%s", d.Mode)
		line("channels", "%d, patch %d", d.Channels, d.Patch)
	}
	if d.Names != "" {
		prefix := ""
		if d.Prefix != "" {
			prefix = fmt.Sprintf(" after %q", d.Prefix)
		}
		line("names", "those of %s, %d blocks%s", d.Names, d.Blocks, prefix)
	}
	if n := len(d.Ignored); n > 0 {
		line("ignored", "%d tensors that do not belong to the encoder, such as %.80q", n, d.Ignored[0])
	}
	if d.Mode != "" {
		line("input", "mean %v, std %v", d.Mean, d.Std)
	}
	if m := d.Module; m != nil {
		line("archive", "%d x %d pixels, %d tokens, layers %s", m.Height, m.Width, m.Tokens(), strings.Join(m.Layers, " "))
		line("exported", "timm %s, torch %s; licence %s", m.Timm, m.Torch, m.Licence)
		line("weights", "SHA-256 of the exporter: %s", d.Weights)
	}
	if d.Mode == "native" {
		line("layers used", "%s", strings.Trim(fmt.Sprint(d.Layers), "[]"))
	} else if d.Module != nil {
		line("layers used", "all %d of the archive: model.decoder_depth", len(d.Module.Layers))
	}
	if d.Fault != "" {
		line("fault", "%s", d.Fault)
	}
	return t.Flush()
}
