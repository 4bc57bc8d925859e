package checkpoint

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/safetensors"
)

// sealedBundle writes a bundle with tensors of every kind and a calibration.
func sealedBundle(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.mvag")
	raw := func(name string, data ...byte) safetensors.Tensor {
		return safetensors.Raw(name, safetensors.U8, []int64{int64(len(data))}, data)
	}
	tensors := []safetensors.Tensor{
		safetensors.Float32(Backbone+"cls_token", []int64{2, 1}, []float32{1.5, 2.5}), safetensors.Float32("decoder.x", []int64{2}, []float32{3.5, 4.5}),
		raw(Memory+"nut.C1.codes", 0xa1, 0xa2, 0xa3), raw(Thumbnails, 0xb1, 0xb2),
	}
	if err := Write(path, Info{Config: configs.Default(), Memory: `{"nut":{}}`}, tensors); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	meta := f.Metadata()
	meta[BundleKey], meta[CalibrationKey] = `{"backbone":{"type":"F32"}}`, `{"threshold":0.3125}`
	if err := Seal(meta, tensors); err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Write(path, tensors, meta); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDamage changes a byte of everything that a bundle holds: it is refused.
func TestDamage(t *testing.T) {
	float := func(v float32) string {
		b, err := binary.Append(nil, binary.LittleEndian, v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	data, err := os.ReadFile(sealedBundle(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, new string }{
		"backbone":          {float(2.5), float(2.25)},
		"decoder":           {float(3.5) + float(4.5), float(0) + float(0)},
		"memory":            {"\xa1\xa2\xa3", "\xa1\xa2\xa4"},
		"thumbnails":        {"\xb1\xb2", "\xb1\xb3"},
		"threshold":         {"0.3125", "0.3135"},
		"name of a tensor":  {"decoder.x", "decoder.y"},
		"shape":             {`"shape":[2,1]`, `"shape":[1,2]`},
		"configuration":     {"views: 5", "views: 6"},
		"key of the bundle": {`"bundle":`, `"bundlf":`},
		"key of the hash":   {`"contents.sha256":`, `"contents.sha257":`},
		"key of the format": {`"format":`, `"gormat":`},
		"the hash":          {`"contents.sha256":"`, `"contents.sha256":"0`},
	} {
		t.Run(name, func(t *testing.T) {
			if bytes.Count(data, []byte(c.old)) != 1 {
				t.Fatalf("have %q %d times, want it once", c.old, bytes.Count(data, []byte(c.old)))
			}
			damaged := bytes.Replace(data, []byte(c.old), []byte(c.new), 1)
			if longer := len(damaged) - len(data); longer > 0 {
				binary.LittleEndian.PutUint64(damaged, binary.LittleEndian.Uint64(damaged)+uint64(longer))
			}
			path := filepath.Join(t.TempDir(), "damaged.mvag")
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			if err == nil || !strings.HasPrefix(err.Error(), path+": have contents of SHA-256 ") || !strings.HasSuffix(err.Error(), "…: the file is damaged") {
				t.Errorf("have %v, want that the file is damaged", err)
			}
		})
	}
}

// TestRewriteSeals: a bundle with another calibration and memory has another hash, which it is checked by.
func TestRewriteSeals(t *testing.T) {
	path := sealedBundle(t)
	hash := func(codes byte) string {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if data, err := f.Bytes(Memory + "nut.C1.codes"); err != nil || data[0] != codes || f.Bundle == nil {
			t.Errorf("have codes %v, bundle %v, error %v", data, f.Bundle, err)
		}
		return f.Metadata()[ContentsKey]
	}
	before := hash(0xa1)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = f.Rewrite(map[string]string{CalibrationKey: ""}, Memory, []safetensors.Tensor{safetensors.Raw(Memory+"nut.C1.codes", safetensors.U8, []int64{1}, []byte{7})})
	if err != nil {
		t.Fatal(err)
	}
	if after := hash(7); after == before || len(after) != 64 {
		t.Errorf("have hash %s after %s", after, before)
	}
}

// TestOpenOtherKinds has files of other programs.
func TestOpenOtherKinds(t *testing.T) {
	for name, want := range map[string]string{"model.onnx": "have an ONNX model", "model.zip": "have another kind of file"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, bytes.Repeat([]byte("PK\x03\x04"), 4), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), path+": "+want) || !strings.HasSuffix(err.Error(), "want a checkpoint or bundle") {
			t.Errorf("have %v, want %q", err, want)
		}
	}
}
