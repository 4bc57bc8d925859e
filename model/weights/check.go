package weights

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// want is a parameter and its shape.
type want struct {
	name  string
	shape []int64
}

// parameters lists what blocks 0 to last need, apart from pos_embed, whose length is free.
func (a Arch) parameters(last int) []want {
	c, p, hidden := int64(a.Dim), int64(a.Patch), int64(a.Hidden())
	list := []want{{"cls_token", []int64{1, 1, c}}}
	if a.Registers > 0 {
		list = append(list, want{"reg_token", []int64{1, int64(a.Registers), c}})
	}
	list = append(list, want{"patch_embed.proj.weight", []int64{c, 3, p, p}})
	if a.Family == CLIP {
		list = append(list, want{"norm_pre.weight", []int64{c}}, want{"norm_pre.bias", []int64{c}})
	} else {
		list = append(list, want{"patch_embed.proj.bias", []int64{c}})
	}
	in := hidden
	if a.Gated {
		in = 2 * hidden
	}
	block := []want{
		{"norm1.weight", []int64{c}}, {"norm1.bias", []int64{c}},
		{"attn.qkv.weight", []int64{3 * c, c}}, {"attn.qkv.bias", []int64{3 * c}},
		{"attn.proj.weight", []int64{c, c}}, {"attn.proj.bias", []int64{c}},
		{"ls1.gamma", []int64{c}},
		{"norm2.weight", []int64{c}}, {"norm2.bias", []int64{c}},
		{"mlp.fc1.weight", []int64{in, c}}, {"mlp.fc1.bias", []int64{in}},
		{"mlp.fc2.weight", []int64{c, hidden}}, {"mlp.fc2.bias", []int64{c}},
		{"ls2.gamma", []int64{c}},
	}
	if !a.LayerScale() {
		block = slices.DeleteFunc(block, func(w want) bool { return strings.HasSuffix(w.name, ".gamma") })
	}
	for i := range last + 1 {
		for _, w := range block {
			list = append(list, want{"blocks." + strconv.Itoa(i) + "." + w.name, w.shape})
		}
	}
	return list
}

// optional reports whether a file of the family may lack the parameter.
func (a Arch) optional(name string) bool {
	return a.Family == DINOv3 && strings.HasSuffix(name, ".attn.qkv.bias")
}

// Check compares the shapes found in a file, by name, with what evaluating blocks 0 to last of the architecture needs,
// and names every parameter that is missing, unused or misshapen in one error. Parameters of a whole model that this
// use leaves out are no fault: later blocks, norm, mask_token and the head.
func (a Arch) Check(shapes map[string][]int64, last int) error {
	if last < 0 || last >= a.Depth {
		return fmt.Errorf("weights: have last block %d, want one of the %d blocks of %s", last, a.Depth, a.Name)
	}
	var missing, misshapen, unused []string
	known := map[string]bool{"pos_embed": a.Family != DINOv3}
	for _, w := range a.parameters(last) {
		known[w.name] = true
		have, ok := shapes[w.name]
		if !ok && !a.optional(w.name) {
			missing = append(missing, strconv.Quote(w.name))
		} else if ok && !slices.Equal(have, w.shape) {
			misshapen = append(misshapen, fmt.Sprintf("%q (have %v, want %v)", w.name, have, w.shape))
		}
	}
	if a.Family != DINOv3 {
		if have, ok := shapes["pos_embed"]; !ok {
			missing = append(missing, strconv.Quote("pos_embed"))
		} else if !a.positions(have) {
			misshapen = append(misshapen, fmt.Sprintf("%q (have %v, want [1 P %d] or [1 1+P %d] with square P)", "pos_embed", have, a.Dim, a.Dim))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		if !known[name] && !a.harmless(name, last) {
			unused = append(unused, fmt.Sprintf("%.80q", name))
		}
	}
	if len(missing)+len(misshapen)+len(unused) == 0 {
		return nil
	}
	if other, ok := Guess(shapes); ok && !other.like(a) {
		return fmt.Errorf("weights: have what looks like %s (dim %d, %d registers), want %s (dim %d, %d registers)",
			other.Name, other.Dim, other.Registers, a.Name, a.Dim, a.Registers)
	}
	return fmt.Errorf("weights: have no fit for %s: %s", a.Name,
		joinNonEmpty(list("missing", missing), list("misshapen", misshapen), list("unused", unused)))
}

// Used returns the parameters of m that evaluating blocks 0 to last needs. Check must have accepted m.
func (a Arch) Used(m Map, last int) Map {
	used := Map{}
	for _, w := range append(a.parameters(last), want{name: "pos_embed"}) {
		if t, ok := m[w.name]; ok && (w.name != "pos_embed" || a.Family != DINOv3) {
			used[w.name] = t
		}
	}
	return used
}

// positions reports whether a position table has the shape [1, n, C] with n a square or, with a class position in
// front, a square and one.
func (a Arch) positions(shape []int64) bool {
	return len(shape) == 3 && shape[0] == 1 && shape[2] == int64(a.Dim) &&
		shape[1] > 0 && (square(shape[1]) || square(shape[1]-1) && shape[1] > 1)
}

func square(n int64) bool {
	root := int64(math.Sqrt(float64(n)))
	return root*root == n
}

// harmless reports whether the parameter belongs to a part of the model that is not evaluated.
func (a Arch) harmless(name string, last int) bool {
	if rest, ok := strings.CutPrefix(name, "blocks."); ok {
		number, _, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(number)
		return err == nil && n > last && n < a.Depth
	}
	return name == "mask_token" || strings.HasPrefix(name, "norm.") ||
		strings.HasPrefix(name, "fc_norm.") || strings.HasPrefix(name, "head.")
}

// like reports whether a and b take the same parameters.
func (a Arch) like(b Arch) bool {
	return a.Family == b.Family && a.Patch == b.Patch && a.Dim == b.Dim && a.Depth == b.Depth && a.Registers == b.Registers
}

// Guess returns the first supported architecture whose tokens, patches and kind of block a file has. Others may differ
// from it in what the shapes do not show: statistics of the input, QuickGELU.
func Guess(shapes map[string][]int64) (Arch, bool) {
	cls, reg, patch := shapes["cls_token"], shapes["reg_token"], shapes["patch_embed.proj.weight"]
	if len(cls) != 3 || len(patch) != 4 {
		return Arch{}, false
	}
	registers := int64(0)
	if len(reg) == 3 {
		registers = reg[1]
	}
	family := ViT
	_, table := shapes["pos_embed"]
	_, scaled := shapes["blocks.0.ls1.gamma"]
	_, normed := shapes["norm_pre.weight"]
	switch {
	case !table:
		family = DINOv3
	case scaled:
		family = DINOv2
	case normed:
		family = CLIP
	}
	i := slices.IndexFunc(supported, func(a Arch) bool {
		return a.Family == family && int64(a.Dim) == cls[2] && int64(a.Registers) == registers && int64(a.Patch) == patch[2]
	})
	if i < 0 {
		return Arch{}, false
	}
	a := supported[i]
	a.setStatistics("")
	return a, true
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
