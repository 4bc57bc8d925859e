package weights_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/npy"
	"mvag-torch/internal/onnx"
	"mvag-torch/internal/pytorch"
	"mvag-torch/internal/safetensors"
	"mvag-torch/model/weights"
)

// archive is a zip archive whose only entry has content and is said to be of so many bytes.
func archive(t *testing.T, name string, method uint16, content []byte, size uint64) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	var w io.Writer
	var err error
	if method == zip.Deflate {
		w, err = z.Create(name)
	} else {
		w, err = z.CreateRaw(&zip.FileHeader{Name: name, Method: method, UncompressedSize64: size, CompressedSize64: uint64(len(content)),
			CRC32: crc32.ChecksumIEEE(content)})
	}
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// hugePNG is a small image whose header says 65,535 x 4,000 pixels.
func hugePNG(t *testing.T) []byte {
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	binary.BigEndian.PutUint32(data[16:], 65535)
	binary.BigEndian.PutUint32(data[20:], 4000)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

// message is a field of a protocol buffer that has others.
func message(number byte, fields ...[]byte) []byte {
	text := bytes.Join(fields, nil)
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(text))), text...)
}

// TestAnnouncedSizes holds that readers allocate by what there is and not by what a file announces.
func TestAnnouncedSizes(t *testing.T) {
	const huge, most = 1 << 40, 16 << 20
	number := func(field byte, v uint64) []byte { return binary.AppendUvarint([]byte{field << 3}, v) }
	read := func(path string) error { _, err := onnx.ReadFile(path); return err }
	tensors := func(path string) error {
		f, err := safetensors.Open(path)
		if err == nil {
			f.Close()
		}
		return err
	}
	array := func(path string) error {
		f, err := npy.Open(path)
		if err == nil {
			f.Close()
		}
		return err
	}
	state := func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err == nil {
			_, err = pytorch.New(path, f, info.Size())
		}
		return err
	}
	module := func(path string) error { _, err := weights.ReadModule(path); return err }
	photo := func(path string) error {
		fit := dataset.Fit{Resize: configs.Square(8), Crop: configs.Square(8)}
		_, _, err := fit.Image(dataset.View{Path: path}, make([]uint8, 3*64))
		return err
	}
	header := `{"x":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}`
	const shape = `{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }` + "\n"
	for name, test := range map[string]struct {
		data []byte
		read func(path string) error
	}{
		"safetensors header": {binary.LittleEndian.AppendUint64(nil, 99_000_000), tensors},
		"safetensors tensor": {append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), tensors},
		"npy header":         {[]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), array},
		"npy shape":          {append([]byte("\x93NUMPY\x01\x00"+string(rune(len(shape)))+"\x00"), shape...), array},
		"ONNX tensor":        {message(7, message(5, number(1, huge), number(2, 1), message(9, make([]byte, 4)))), read},
		"ONNX message":       {append([]byte{7<<3 | 2}, binary.AppendUvarint(nil, huge)...), read},
		"pickle in archive":  {archive(t, "m/data.pkl", zip.Store, []byte("\x80\x02}."), huge), state},
		"bytes in pickle":    {archive(t, "m/data.pkl", zip.Store, []byte("\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00."), 12), state},
		"module's metadata":  {archive(t, "m/extra/mvag.json", zip.Deflate, make([]byte, 256<<20), 0), module},
		"PNG":                {hugePNG(t), photo},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := test.read(path)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("have %v, want an error that begins with %s", err, path)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > most {
				t.Errorf("have %d bytes allocated for a file of %d, want at most %d", n, len(test.data), most)
			}
		})
	}
}
