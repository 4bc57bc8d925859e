package weights

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/internal/regularfile"
)

// Module is how an archive of third_party/export_backbone.py describes itself: a TorchScript module whose forward maps
// images [B, 3, Height, Width] to the outputs [B, N, Channels] of its layers, N being Prefix tokens and then the
// patches, row by row.
type Module struct {
	Path string `json:"-"`

	Format   int        `json:"format"` // moduleFormat
	Arch     string     `json:"arch"`   // timm's name with its tag
	Mean     [3]float32 `json:"mean"`   // of the images, as in Arch
	Std      [3]float32 `json:"std"`
	Height   int        `json:"height"` // of an image, in pixels
	Width    int        `json:"width"`
	Patch    int        `json:"patch"`    // pixels from one patch to the next
	Prefix   int        `json:"prefix"`   // tokens in front of the patches
	Channels int        `json:"channels"` // C
	Heads    int        `json:"heads"`    // for the decoder; divides Channels
	Layers   []string   `json:"layers"`   // block indices, or names of modules
	Licence  string     `json:"licence"`  // of the weights, as timm has it
	Timm     string     `json:"timm"`     // versions
	Torch    string     `json:"torch"`
	SHA256   string     `json:"sha256"` // of the weights, see [Map.SHA256]
}

// Tokens counts the tokens N of an image.
func (m *Module) Tokens() int { return m.Prefix + m.Height/m.Patch*(m.Width/m.Patch) }

const (
	moduleFormat = 1
	moduleEntry  = "extra/mvag.json" // below the archive's one folder
	maxMetadata  = 1 << 16           // bytes
)

// ErrNoMetadata is wrapped by ReadModule's error for a file that no exporter of ours wrote.
var ErrNoMetadata = errors.New("want an archive of third_party/export_backbone.py")

// ReadModule reads how the archive at path describes itself; nothing is run.
func ReadModule(path string) (*Module, error) {
	file, size, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	z, err := zip.NewReader(file, size)
	if errors.Is(err, zip.ErrFormat) {
		return nil, fmt.Errorf("%s: have no zip archive, %w", path, ErrNoMetadata)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	i := slices.IndexFunc(z.File, func(f *zip.File) bool {
		_, below, _ := strings.Cut(f.Name, "/")
		return below == moduleEntry
	})
	if i < 0 {
		return nil, fmt.Errorf("%s: have no %s, %w", path, moduleEntry, ErrNoMetadata)
	}
	text, err := readEntry(z.File[i])
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", path, moduleEntry, err)
	}
	m, err := parseModule(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", path, moduleEntry, err)
	}
	m.Path = path
	return m, nil
}

func readEntry(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxMetadata+1))
	if err == nil && len(text) > maxMetadata {
		err = fmt.Errorf("have more than %d bytes", maxMetadata)
	}
	return text, err
}

func parseModule(text []byte) (*Module, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var m Module
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	if m.Format != moduleFormat {
		return nil, fmt.Errorf("format: have %d, want %d", m.Format, moduleFormat)
	}
	const maxSide, maxChannels, maxPrefix, maxLayers = 8192, 1 << 16, 1024, 1024
	for _, n := range []struct {
		key               string
		have, least, most int
	}{
		{"height", m.Height, 1, maxSide}, {"width", m.Width, 1, maxSide}, {"patch", m.Patch, 1, maxSide},
		{"prefix", m.Prefix, 0, maxPrefix}, {"channels", m.Channels, 1, maxChannels}, {"heads", m.Heads, 1, m.Channels},
		{"layers", len(m.Layers), 1, maxLayers},
	} {
		if n.have < n.least || n.have > n.most {
			return nil, fmt.Errorf("%s: have %d, want %d to %d", n.key, n.have, n.least, n.most)
		}
	}
	if m.Height%m.Patch != 0 || m.Width%m.Patch != 0 {
		return nil, fmt.Errorf("height, width: have %d, %d, want multiples of the patch (%d)", m.Height, m.Width, m.Patch)
	}
	if m.Channels%m.Heads != 0 {
		return nil, fmt.Errorf("heads: have %d, want a divisor of the channels (%d)", m.Heads, m.Channels)
	}
	for i := range m.Std {
		if !(m.Std[i] > 0) || math.IsInf(float64(m.Std[i]), 0) || math.IsNaN(float64(m.Mean[i])) || math.IsInf(float64(m.Mean[i]), 0) {
			return nil, fmt.Errorf("mean, std: have %v, %v, want finite values, std above 0", m.Mean, m.Std)
		}
	}
	for i, name := range m.Layers {
		if name == "" || slices.Index(m.Layers, name) < i {
			return nil, fmt.Errorf("layers: have %.200q, want each by its name, once", m.Layers)
		}
	}
	return &m, nil
}

// OfConfig returns the architecture that b names: one that the program computes, or that of the archive b.Weights,
// whose name has to be the same.
func OfConfig(b configs.Backbone) (Arch, error) {
	if b.Mode != "module" {
		a, err := ParseArch(b.Name)
		if err != nil {
			return a, &configs.Error{Faults: []configs.Fault{{Path: "backbone.name", Msg: strings.TrimPrefix(err.Error(), "backbone: ") + "; backbone.mode: module runs other models of timm"}}}
		}
		return a, nil
	}
	m, err := ReadModule(b.Weights)
	if err != nil {
		return Arch{}, fmt.Errorf("backbone: %w", err)
	}
	base, _, _ := strings.Cut(m.Arch, ".")
	if b.Name != m.Arch && b.Name != base {
		return Arch{}, fmt.Errorf("backbone.name: have %q, want %q as %s has it", b.Name, m.Arch, b.Weights)
	}
	return m.arch(), nil
}

// arch is the module as an architecture; its blocks are its layers.
func (m *Module) arch() Arch {
	return Arch{Name: m.Arch, Patch: m.Patch, Dim: m.Channels, Depth: len(m.Layers), Heads: m.Heads, Mean: m.Mean, Std: m.Std, Module: m}
}

// SHA256 is a digest of the weights, whatever file and type they are kept in: in order of the names, each name, a zero
// byte, and the elements as float32, little-endian.
func (m Map) SHA256() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(m)) {
		_, _ = io.WriteString(h, name+"\x00") // a hash never fails
		_ = binary.Write(h, binary.LittleEndian, m[name].Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}
