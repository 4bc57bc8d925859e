package tensor

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// nvrtc is the compiler, or skips the test where LibTorch's CUDA libraries are not there.
func nvrtc(t *testing.T) compiler {
	t.Helper()
	c, err := newCompiler()
	if err != nil {
		t.Skip(err)
	}
	return c
}

// TestKernelsCompileOnCUDA compiles all kernels for every generation of GPU, also for one that is newer than the compiler.
func TestKernelsCompileOnCUDA(t *testing.T) {
	c := nvrtc(t)
	for _, capability := range []int{75, 80, 86, 89, 90, 100, 120, 999} {
		target, err := c.target(capability)
		if err != nil {
			t.Fatal(err)
		}
		if ptx := strings.HasPrefix(target, "compute_"); ptx != (capability == 999) {
			t.Errorf("%d: have target %s", capability, target)
		}
		for _, m := range modules {
			if capability < m.minimum {
				continue
			}
			image, err := compile(m, target)
			if err != nil {
				t.Fatalf("%d: %v", capability, err)
			}
			if want := "\x7fELF"; strings.HasPrefix(target, "sm_") && !bytes.HasPrefix(image, []byte(want)) {
				t.Errorf("%s %s: have an image that begins with %q, want %q", m.name, target, image[:4], want)
			}
		}
	}
	if _, err := c.target(30); err == nil {
		t.Error("no error for a GPU that is older than the compiler's oldest")
	}
}

// TestImagesAreKeptOnCUDA: the second run takes the image of the first, unless the file is damaged.
func TestImagesAreKeptOnCUDA(t *testing.T) {
	c := nvrtc(t)
	t.Setenv("MVAG_CACHE", t.TempDir())
	m := module{"small", 75, []string{"block_sum.cu"}}
	m.files = []string{"device.cu", "elements.cu", "block_sum.cu"}
	image := func() []byte {
		t.Helper()
		image, kept, err := c.image(m, 75)
		if err != nil || kept != nil {
			t.Fatal(err, kept)
		}
		return image
	}
	first, path := image(), c.imageFile(m, "sm_75")
	kept, ok := readImage(path)
	if !ok || !bytes.Equal(kept, first) {
		t.Fatalf("the image is not kept in %s", path)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"cut": file[:len(file)/2], "empty": {}, "flipped": append([]byte{file[0] ^ 1}, file[1:]...)} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(image(), first) {
			t.Errorf("%s: another image", name)
		}
		if _, ok := readImage(path); !ok {
			t.Errorf("%s: the damaged file is still there", name)
		}
	}
	if other := c.imageFile(m, "sm_80"); other == path || filepath.Dir(other) != filepath.Dir(path) {
		t.Errorf("have %s and %s", path, other)
	}
}

func TestChooseKernels(t *testing.T) {
	vit := ModelShape{Channels: 768, Heads: 12, Tokens: 789, Layers: 8}
	with := func(change func(*ModelShape)) ModelShape {
		shape := vit
		change(&shape)
		return shape
	}
	for name, c := range map[string]struct {
		capability int
		compute    DType
		shape      ModelShape
		want       string
	}{
		"bf16":        {90, BFloat16, vit, "fused attention, norms, linear layers, patch embedding, losses, optimiser, random numbers: sm_90, bf16"},
		"float32":     {90, Float, vit, "fused heads, losses, optimiser, random numbers: sm_90, float32"},
		"old":         {75, BFloat16, vit, "fused norms, linear layers, patch embedding, heads, losses, optimiser, random numbers: sm_75, bf16 (attention needs sm_80)"},
		"heads":       {80, BFloat16, with(func(s *ModelShape) { s.Heads = 24 }), "fused norms, linear layers, patch embedding, heads, losses, optimiser, random numbers: sm_80, bf16 (heads of 32 channels, kernels need 64)"},
		"tokens":      {80, BFloat16, with(func(s *ModelShape) { s.Tokens = 5000 }), "fused norms, linear layers, patch embedding, heads, losses, optimiser, random numbers: sm_80, bf16 (5000 tokens, attention kernels take 4096)"},
		"wide":        {80, BFloat16, with(func(s *ModelShape) { s.Channels, s.Heads = 4096, 64 }), "fused attention, linear layers, patch embedding, losses, optimiser, random numbers: sm_80, bf16 (norms of 4096 channels, kernels need a multiple of 128 up to 1536)"},
		"many layers": {80, Float, with(func(s *ModelShape) { s.Layers = 24 }), "fused heads, optimiser, random numbers: sm_80, float32 (losses of 768 channels and 24 layers, kernels need a multiple of 4 and at most 16)"},
	} {
		k := Kernels{Compute: c.compute, capability: "sm_" + map[int]string{75: "75", 80: "80", 90: "90"}[c.capability]}
		k.choose(c.capability, c.shape)
		if have := k.String(); have != c.want {
			t.Errorf("%s: have %q, want %q", name, have, c.want)
		}
	}
	if have, want := ChooseKernels(CPU, BFloat16, vit).String(), "LibTorch's operations on the CPU"; have != want {
		t.Errorf("have %q, want %q", have, want)
	}
	if have, want := (Kernels{reasons: []string{"no compiler"}}).String(), "LibTorch's operations (no compiler)"; have != want {
		t.Errorf("have %q, want %q", have, want)
	}
}
