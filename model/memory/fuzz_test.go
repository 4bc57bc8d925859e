package memory

import (
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/internal/safetensors"
	"mvag-torch/model/checkpoint"
)

// FuzzRead holds that what a file says to be a memory is refused in one line that names the file, or is finite, has the
// sizes that it says, and is the same after it has been written again.
func FuzzRead(f *testing.F) {
	f.Add(`{"only":true,"classes":{"nut":{"objects":5,"alone":true}}}`, "nut.C1", uint8(2), uint8(3), uint8(2), uint8(4), []byte{0, 60})
	f.Add(`{"classes":{"nut":null}}`, "nut.C1", uint8(1), uint8(1), uint8(1), uint8(1), []byte{})
	f.Add(`{"classes":{"nut":{}}}`, "nut.C0", uint8(1), uint8(1), uint8(1), uint8(1), []byte{0, 124})
	f.Add(`{"classes":{"":{}}}`, ".C99999999999999999999", uint8(0), uint8(0), uint8(0), uint8(0), []byte{})
	f.Add(`null`, "", uint8(1), uint8(0), uint8(1), uint8(1), []byte{1})
	path := filepath.Join(f.TempDir(), "x.safetensors")
	f.Fuzz(func(t *testing.T, text, of string, targets, rows, codes, channels uint8, fill []byte) {
		text, of = strings.ToValidUTF8(text, "?"), strings.ToValidUTF8(of, "?")
		data := func(n int) []byte {
			out := make([]byte, 2*n)
			for i := range out {
				if len(fill) > 0 {
					out[i] = fill[i%len(fill)]
				}
			}
			return out
		}
		b := []int64{int64(targets) % 8, int64(rows) % 8, int64(channels) % 8}
		k := []int64{b[0], int64(codes) % 8, max(0, b[1]-1)}
		tensors := []safetensors.Tensor{
			safetensors.Raw(checkpoint.Memory+of+basisName, safetensors.F16, b, data(int(b[0]*b[1]*b[2]))),
			safetensors.Raw(checkpoint.Memory+of+coordinatesName, safetensors.F16, k, data(int(k[0]*k[1]*k[2]))),
		}
		if err := safetensors.Write(path, tensors, map[string]string{checkpoint.MemoryKey: text}); err != nil {
			t.Fatal(err)
		}
		file, err := checkpoint.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		m, err := Read(file)
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+": memory: ") {
				t.Errorf("have %q, want an error that begins with the file", err)
			}
			return
		}
		for _, name := range m.Names() {
			for camera, c := range m.Of(name).Cameras {
				if camera < 0 || len(c.Basis) != 2*c.Targets*(1+c.Dims)*c.Channels || len(c.Coordinates) != 2*c.Targets*c.Codes*c.Dims {
					t.Errorf("%q, camera %d: have %d and %d bytes, want those of %d targets, %d dims, %d codes, %d channels",
						name, camera, len(c.Basis), len(c.Coordinates), c.Targets, c.Dims, c.Codes, c.Channels)
				}
				if !Finite(c.Basis) || !Finite(c.Coordinates) {
					t.Errorf("%q: have values that are not finite", name)
				}
			}
		}
		if again, err := m.Marshal(); err != nil || m.Empty() != (again == "") {
			t.Errorf("have %q, %v of %d classes", again, err, len(m.Names()))
		}
	})
}
