// Package memory is what a model remembers of good parts without training: for each class, camera and target a subspace
// of normal patches and the most different of them within it (docs/model.md section 8). It fits and stores them; package
// model compares images with them.
package memory

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"mvag-torch/internal/safetensors"
	"mvag-torch/model/checkpoint"
)

// Memory is all that is remembered, by class. A nil Memory is empty.
type Memory struct {
	// Only says that the model has nothing else: it was never trained.
	Only    bool              `json:"only"`
	Classes map[string]*Class `json:"classes"`
}

// Class is what is remembered of a class.
type Class struct {
	Objects int `json:"objects"` // that it is fitted to
	// Alone says that the class was enrolled and not trained on: there is no reconstruction of it to judge by.
	Alone   bool        `json:"alone"`
	Cameras map[int]Map `json:"-"` // by index, from 0
}

// Map is what is remembered of a camera, in float16 so that what is judged with is what is stored. All targets have the
// same numbers of dimensions and codes.
type Map struct {
	Targets, Dims, Codes, Channels int
	Basis                          []byte // [targets, 1 + dims, C]: the mean, then orthonormal vectors about it
	Coordinates                    []byte // [targets, codes, dims]: the codes in this basis
}

// Names returns the classes in order.
func (m *Memory) Names() []string {
	if m == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(m.Classes))
}

// Empty reports whether nothing is remembered.
func (m *Memory) Empty() bool { return m == nil || len(m.Classes) == 0 }

// Of returns what is remembered of a class, nil if nothing is. The class "" is that of a memory of one class.
func (m *Memory) Of(class string) *Class {
	switch {
	case m == nil:
		return nil
	case class == "" && len(m.Classes) == 1:
		return m.Classes[m.Names()[0]]
	}
	return m.Classes[class]
}

// Alone reports whether a class is to be judged by memory alone.
func (m *Memory) Alone(class string) bool {
	c := m.Of(class)
	return c != nil && c.Alone
}

// Untrained reports whether the model has nothing but its memory.
func (m *Memory) Untrained() bool { return m != nil && m.Only }

// Train notes that the model is trained on these classes.
func (m *Memory) Train(classes []string) {
	if m == nil {
		return
	}
	m.Only = false
	for _, name := range classes {
		if c := m.Classes[name]; c != nil {
			c.Alone = false
		}
	}
}

// Bytes is the size of a memory in a checkpoint.
func (m *Memory) Bytes() (n int64) {
	for _, name := range m.Names() {
		for _, c := range m.Classes[name].Cameras {
			n += int64(len(c.Basis) + len(c.Coordinates))
		}
	}
	return n
}

// Names of the tensors of a camera in a checkpoint: memory.CLASS.C1.basis.
const (
	basisName       = ".basis"
	coordinatesName = ".codes"
)

// Tensors returns the tensors of a checkpoint that hold m.
func (m *Memory) Tensors() (list []safetensors.Tensor) {
	for _, name := range m.Names() {
		cameras := m.Classes[name].Cameras
		for _, i := range slices.Sorted(maps.Keys(cameras)) {
			c, prefix := cameras[i], fmt.Sprintf("%s%s.C%d", checkpoint.Memory, name, i+1)
			t, d, k := int64(c.Targets), int64(c.Dims), int64(c.Codes)
			list = append(list,
				safetensors.Raw(prefix+basisName, safetensors.F16, []int64{t, 1 + d, int64(c.Channels)}, c.Basis),
				safetensors.Raw(prefix+coordinatesName, safetensors.F16, []int64{t, k, d}, c.Coordinates))
		}
	}
	return list
}

// Marshal returns what the tensors do not say, as Read finds it in a checkpoint; "" for an empty memory.
func (m *Memory) Marshal() (string, error) {
	if m.Empty() {
		return "", nil
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// Read reads the memory of a checkpoint; nil if it has none.
func Read(f *checkpoint.File) (*Memory, error) {
	text := f.Metadata()[checkpoint.MemoryKey]
	if text == "" {
		return nil, nil
	}
	m := &Memory{}
	if err := json.Unmarshal([]byte(text), m); err != nil {
		return nil, fmt.Errorf("%s: memory: %w", f.Path, err)
	}
	for _, name := range f.Names() {
		of, ok := strings.CutPrefix(name, checkpoint.Memory)
		of, basis := strings.CutSuffix(of, basisName)
		if !ok || !basis {
			continue
		}
		if err := m.read(f, of); err != nil {
			return nil, fmt.Errorf("%s: memory: %q: %w", f.Path, of, err)
		}
	}
	for name, c := range m.Classes {
		if c == nil || len(c.Cameras) == 0 {
			return nil, fmt.Errorf("%s: memory: have no tensors of class %q", f.Path, name)
		}
	}
	return m, nil
}

// read reads the camera called CLASS.C1.
func (m *Memory) read(f *checkpoint.File, of string) error {
	at := strings.LastIndex(of, ".C")
	if at < 0 {
		return fmt.Errorf("have no camera in the name, want CLASS.C1")
	}
	class := m.Classes[of[:at]]
	camera, err := strconv.Atoi(of[at+2:])
	if class == nil || err != nil || camera < 1 {
		return fmt.Errorf("have no such class and camera in the metadata")
	}
	var c Map
	basis, codes := checkpoint.Memory+of+basisName, checkpoint.Memory+of+coordinatesName
	bType, b, _ := f.File.Info(basis)
	cType, k, _ := f.File.Info(codes)
	if bType != safetensors.F16 || cType != safetensors.F16 || len(b) != 3 || len(k) != 3 || b[0] != k[0] || b[1] != k[2]+1 || k[1] < 1 || k[2] < 1 {
		return fmt.Errorf("have basis %s %v and codes %s %v, want F16 [targets, 1+dims, channels] and [targets, codes, dims]", bType, b, cType, k)
	}
	c.Targets, c.Dims, c.Codes, c.Channels = int(b[0]), int(k[2]), int(k[1]), int(b[2])
	if c.Basis, err = f.Bytes(basis); err == nil {
		c.Coordinates, err = f.Bytes(codes)
	}
	for _, data := range [][]byte{c.Basis, c.Coordinates} {
		if err == nil && !Finite(data) {
			err = fmt.Errorf("have values that are not finite")
		}
	}
	if class.Cameras == nil {
		class.Cameras = map[int]Map{}
	}
	class.Cameras[camera-1] = c
	return err
}

// Check returns an error unless m fits a model of so many targets and channels.
func (m *Memory) Check(targets, channels int) error {
	for _, name := range m.Names() {
		for i, c := range m.Classes[name].Cameras {
			if c.Targets != targets || c.Channels != channels {
				return fmt.Errorf("memory: class %q, camera C%d: have %d targets of %d channels, want %d of %d as the backbone gives",
					name, i+1, c.Targets, c.Channels, targets, channels)
			}
		}
	}
	return nil
}

// Finite reports whether no float16 value is infinite or NaN.
func Finite(data []byte) bool { return safetensors.NotFinite16(data) < 0 }

// halves appends values as float16.
func halves[T float32 | float64](out []byte, values []T) []byte {
	for _, v := range values {
		out = binary.LittleEndian.AppendUint16(out, safetensors.Float32ToFloat16(float32(v)))
	}
	return out
}

var infinity = float32(math.Inf(1))
