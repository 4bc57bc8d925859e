package tensor

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"mvag-torch/internal/atomicfile"
)

//go:embed *.cu tables.h philox.h
var sources embed.FS

// module is a number of kernels that are compiled together.
type module struct {
	name    string
	minimum int // compute capability, 75 for 7.5
	files   []string
}

// modules are all kernels: those that any supported GPU runs, and those that need tensor cores for bfloat16.
var modules = []module{
	{"base", 75, []string{"device.cu", "elements.cu", "block_sum.cu", "heads.cu", "column_sums.cu", "norm.cu", "patches.cu", "tables.h", "adamw.cu", "losses.cu", "philox.h", "random.cu"}},
	{"attention", 80, []string{"device.cu", "mma.cu", "elements.cu", "attend.cu"}},
}

// source is the text of the module's files; errors of the compiler name file and line.
func (m module) source() string {
	var text strings.Builder
	for _, name := range m.files {
		file, err := sources.ReadFile(name)
		if err != nil {
			fail("kernels", err.Error(), nil) // the name is not among those embedded
		}
		fmt.Fprintf(&text, "#line 1 %q\n%s", name, file)
	}
	return text.String()
}

// compiler is NVIDIA's run-time compiler (NVRTC), which LibTorch's CUDA libraries bring.
type compiler struct {
	version       string
	architectures []int // ascending, 90 for sm_90
}

func newCompiler() (compiler, error) {
	var archs [64]C.int
	var major, minor C.int
	n := C.int(len(archs))
	if err := failure(C.mvag_nvrtc(&major, &minor, &archs[0], &n)); err != nil {
		return compiler{}, err
	}
	c := compiler{version: fmt.Sprintf("%d.%d", major, minor)}
	for _, arch := range archs[:n] {
		c.architectures = append(c.architectures, int(arch))
	}
	return c, nil
}

// target is what a module is compiled to for a GPU of the given compute capability: its machine code, or PTX, which the
// driver compiles, where the GPU is newer than the compiler.
func (c compiler) target(capability int) (string, error) {
	if slices.Contains(c.architectures, capability) {
		return fmt.Sprintf("sm_%d", capability), nil
	}
	newest := 0
	for _, arch := range c.architectures {
		if arch < capability {
			newest = arch
		}
	}
	if newest == 0 {
		return "", fmt.Errorf("NVRTC %s compiles for sm_%d and newer, not for sm_%d", c.version, slices.Min(c.architectures), capability)
	}
	return fmt.Sprintf("compute_%d", newest), nil
}

// compile returns the image of a module for a target.
func compile(m module, target string) ([]byte, error) {
	source, name, arch := C.CString(m.source()), C.CString(m.name+".cu"), C.CString(target)
	defer C.free(unsafe.Pointer(source))
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(arch))
	var image unsafe.Pointer
	var size C.size_t
	if err := failure(C.mvag_compile(&image, &size, source, name, arch)); err != nil {
		return nil, fmt.Errorf("kernels %s: %w", m.name, err)
	}
	defer C.free(image)
	return C.GoBytes(image, C.int(size)), nil
}

// imageFile is where the image of a module is kept: its name is the hash of all that decides it.
func (c compiler) imageFile(m module, target string) string {
	folder := os.Getenv("MVAG_CACHE")
	if folder == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "" // no home: nothing is kept
		}
		folder = filepath.Join(base, "mvag-torch")
	}
	key := sha256.Sum256([]byte(m.source() + "\n" + target + "\nNVRTC " + c.version))
	return filepath.Join(folder, "kernels", fmt.Sprintf("%s-%s-%x", m.name, target, key[:12]))
}

// readImage returns the image in a file, which begins with its SHA-256; false where there is none or it is damaged.
func readImage(path string) ([]byte, bool) {
	file, err := os.ReadFile(path)
	if err != nil || len(file) <= sha256.Size {
		return nil, false
	}
	image := file[sha256.Size:]
	return image, sha256.Sum256(image) == [sha256.Size]byte(file)
}

// image returns the image of a module for a compute capability, compiled unless it is kept from an earlier run. kept
// says why it could not be kept for the next.
func (c compiler) image(m module, capability int) (image []byte, kept, err error) {
	target, err := c.target(capability)
	if err != nil {
		return nil, nil, err
	}
	path := c.imageFile(m, target)
	if image, ok := readImage(path); ok {
		return image, nil, nil
	}
	if image, err = compile(m, target); err != nil || path == "" {
		return image, nil, err
	}
	sum := sha256.Sum256(image)
	if kept = os.MkdirAll(filepath.Dir(path), 0o755); kept == nil {
		kept = atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(append(sum[:], image...))
			return err
		})
	}
	return image, kept, nil
}

// loading is what loading the kernels of a device gave.
type loading struct {
	err  error   // none were loaded
	kept []error // why an image could not be kept
}

// loaded holds what was loaded for each device; the LibTorch thread alone uses it.
var loaded = map[Device]loading{}

// loadKernels loads the kernels that device d, of the given compute capability, can run; once a device.
func loadKernels(d Device, capability int) (l loading) {
	onThread(func() {
		known := false
		if l, known = loaded[d]; !known {
			l = load(d, capability)
			loaded[d] = l
		}
	})
	return l
}

func load(d Device, capability int) (l loading) {
	if capability < modules[0].minimum {
		l.err = errors.New(unsupported(capability))
		return l
	}
	c, err := newCompiler()
	if err != nil {
		l.err = err
		return l
	}
	for _, m := range modules {
		if capability < m.minimum {
			continue
		}
		image, kept, err := c.image(m, capability)
		if err == nil {
			err = failure(C.mvag_load_module(C.int(d), unsafe.Pointer(unsafe.SliceData(image))))
		}
		if err != nil {
			l.err = err
			return l
		}
		if kept != nil {
			l.kept = append(l.kept, kept)
		}
	}
	return l
}
