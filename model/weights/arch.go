package weights

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Arch is the architecture of an encoder.
type Arch struct {
	Name      string // timm's, without the pretraining tag
	Patch     int    // side of a patch in pixels
	Dim       int    // channels
	Depth     int    // blocks
	Heads     int
	Registers int
}

// supported are the sizes of DINOv2 (Oquab et al. 2023, table 17) whose MLP is a
// plain one, each without registers and with the four of Darcet et al. 2024.
var supported = []Arch{
	{"vit_small_patch14_dinov2", 14, 384, 12, 6, 0},
	{"vit_small_patch14_reg4_dinov2", 14, 384, 12, 6, 4},
	{"vit_base_patch14_dinov2", 14, 768, 12, 12, 0},
	{"vit_base_patch14_reg4_dinov2", 14, 768, 12, 12, 4},
	{"vit_large_patch14_dinov2", 14, 1024, 24, 16, 0},
	{"vit_large_patch14_reg4_dinov2", 14, 1024, 24, 16, 4},
}

// ParseArch returns the architecture with timm's name, with or without the tag
// of its pretraining: vit_base_patch14_reg4_dinov2.lvd142m.
func ParseArch(name string) (Arch, error) {
	base, tag, tagged := strings.Cut(name, ".")
	for _, a := range supported {
		if a.Name == base && (!tagged || tag != "") {
			return a, nil
		}
	}
	names := make([]string, len(supported))
	for i, a := range supported {
		names[i] = a.Name
	}
	return Arch{}, fmt.Errorf("backbone: have %q, want one of %s, or one of them with a tag such as .lvd142m",
		name, strings.Join(names, ", "))
}

// DefaultLayers returns the 0-based blocks whose outputs are reconstructed:
// 4, 6, ..., 18 of 24 blocks (L), else 2 to 9 (S and B).
func (a Arch) DefaultLayers() []int {
	if a.Depth == 24 {
		return []int{4, 6, 8, 10, 12, 14, 16, 18}
	}
	return []int{2, 3, 4, 5, 6, 7, 8, 9}
}

// want is a parameter and its shape.
type want struct {
	name  string
	shape []int64
}

// parameters lists what blocks 0 to last need, apart from pos_embed, whose
// length is free.
func (a Arch) parameters(last int) []want {
	c, p := int64(a.Dim), int64(a.Patch)
	list := []want{{"cls_token", []int64{1, 1, c}}}
	if a.Registers > 0 {
		list = append(list, want{"reg_token", []int64{1, int64(a.Registers), c}})
	}
	list = append(list, want{"patch_embed.proj.weight", []int64{c, 3, p, p}}, want{"patch_embed.proj.bias", []int64{c}})
	for i := range last + 1 {
		for _, w := range []want{
			{"norm1.weight", []int64{c}}, {"norm1.bias", []int64{c}},
			{"attn.qkv.weight", []int64{3 * c, c}}, {"attn.qkv.bias", []int64{3 * c}},
			{"attn.proj.weight", []int64{c, c}}, {"attn.proj.bias", []int64{c}},
			{"ls1.gamma", []int64{c}},
			{"norm2.weight", []int64{c}}, {"norm2.bias", []int64{c}},
			{"mlp.fc1.weight", []int64{4 * c, c}}, {"mlp.fc1.bias", []int64{4 * c}},
			{"mlp.fc2.weight", []int64{c, 4 * c}}, {"mlp.fc2.bias", []int64{c}},
			{"ls2.gamma", []int64{c}},
		} {
			list = append(list, want{"blocks." + strconv.Itoa(i) + "." + w.name, w.shape})
		}
	}
	return list
}

// Check compares the shapes found in a file, by name, with what evaluating
// blocks 0 to last of the architecture needs, and names every parameter that is
// missing, unused or misshapen in one error. Parameters of a whole model that
// this use leaves out are no fault: later blocks, norm, mask_token and the head.
func (a Arch) Check(shapes map[string][]int64, last int) error {
	if last < 0 || last >= a.Depth {
		return fmt.Errorf("weights: have last block %d, want one of the %d blocks of %s", last, a.Depth, a.Name)
	}
	var missing, misshapen, unused []string
	known := map[string]bool{"pos_embed": true}
	for _, w := range a.parameters(last) {
		known[w.name] = true
		have, ok := shapes[w.name]
		if !ok {
			missing = append(missing, strconv.Quote(w.name))
		} else if !slices.Equal(have, w.shape) {
			misshapen = append(misshapen, fmt.Sprintf("%q (have %v, want %v)", w.name, have, w.shape))
		}
	}
	if have, ok := shapes["pos_embed"]; !ok {
		missing = append(missing, strconv.Quote("pos_embed"))
	} else if !a.positions(have) {
		misshapen = append(misshapen, fmt.Sprintf("%q (have %v, want [1 P %d] or [1 1+P %d] with square P)", "pos_embed", have, a.Dim, a.Dim))
	}
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		if !known[name] && !a.harmless(name, last) {
			unused = append(unused, fmt.Sprintf("%.80q", name))
		}
	}
	if len(missing)+len(misshapen)+len(unused) == 0 {
		return nil
	}
	if other, ok := guess(shapes); ok && (other.Dim != a.Dim || other.Registers != a.Registers) {
		return fmt.Errorf("weights: have what looks like %s (dim %d, %d registers), want %s (dim %d, %d registers)",
			other.Name, other.Dim, other.Registers, a.Name, a.Dim, a.Registers)
	}
	return fmt.Errorf("weights: have no fit for %s: %s", a.Name,
		joinNonEmpty(list("missing", missing), list("misshapen", misshapen), list("unused", unused)))
}

// positions reports whether a position table has the shape [1, n, C] with n a
// square or, with a class position in front, a square and one.
func (a Arch) positions(shape []int64) bool {
	return len(shape) == 3 && shape[0] == 1 && shape[2] == int64(a.Dim) &&
		shape[1] > 0 && (square(shape[1]) || square(shape[1]-1) && shape[1] > 1)
}

func square(n int64) bool {
	root := int64(math.Sqrt(float64(n)))
	return root*root == n
}

// harmless reports whether the parameter belongs to a part of the model that
// is not evaluated.
func (a Arch) harmless(name string, last int) bool {
	if rest, ok := strings.CutPrefix(name, "blocks."); ok {
		number, _, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(number)
		return err == nil && n > last && n < a.Depth
	}
	return name == "mask_token" || strings.HasPrefix(name, "norm.") ||
		strings.HasPrefix(name, "fc_norm.") || strings.HasPrefix(name, "head.")
}

// guess returns the supported architecture that the tokens of a file belong to.
func guess(shapes map[string][]int64) (Arch, bool) {
	cls, reg := shapes["cls_token"], shapes["reg_token"]
	if len(cls) != 3 {
		return Arch{}, false
	}
	registers := int64(0)
	if len(reg) == 3 {
		registers = reg[1]
	}
	i := slices.IndexFunc(supported, func(a Arch) bool {
		return int64(a.Dim) == cls[2] && int64(a.Registers) == registers
	})
	if i < 0 {
		return Arch{}, false
	}
	return supported[i], true
}

// list writes how many items there are of a kind and the first five of them.
func list(kind string, items []string) string {
	const shown = 5
	switch n := len(items); {
	case n == 0:
		return ""
	case n > shown:
		return fmt.Sprintf("%d %s: %s and %d more", n, kind, strings.Join(items[:shown], ", "), n-shown)
	default:
		return fmt.Sprintf("%d %s: %s", n, kind, strings.Join(items, ", "))
	}
}

func joinNonEmpty(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}
