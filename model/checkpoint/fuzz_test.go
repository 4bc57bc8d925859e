package checkpoint

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/safetensors"
)

// FuzzMetadata holds that a checkpoint with any metadata is refused in one line that names the file, or is the same
// after it has been written again.
func FuzzMetadata(f *testing.F) {
	config, err := configs.Marshal(configs.Default())
	if err != nil {
		f.Fatal(err)
	}
	const bundle = `{"program":"x","checkpoint":"ab","backbone":{"name":"dinov2","type":"F16","change":0.1},"licences":[]}`
	f.Add("3", string(config), `{"pattern":"{object}-{camera}","cameras":["left"]}`, `{"nut":"ab"}`, `{"nut":12}`, "", bundle)
	f.Add("3", "name: x", "null", "null", "null", strings.Repeat("ab", 32), "")
	f.Add("-1", "a: &a [*a]", "{}", "[]", `{"nut":-1}`, "\xff", "null")
	f.Add("9223372036854775808", "x: !!python/object/apply:os.system [id]", "", "", "", "", `{"backbone":{"type":"F64"}}`)
	path := filepath.Join(f.TempDir(), "x.safetensors")
	f.Fuzz(func(t *testing.T, iteration, config, naming, lists, depths, images, bundle string) {
		meta := map[string]string{"format": Format, "iteration": iteration, "config": config, "naming": naming, "train.lists": lists,
			"depths": depths, "train.images": images, BundleKey: bundle}
		for key, text := range meta {
			if text == "" {
				delete(meta, key)
				continue
			}
			meta[key] = strings.ToValidUTF8(text, "?")
		}
		tensors := []safetensors.Tensor{
			safetensors.Float32(Backbone+"x", []int64{1}, []float32{1}), safetensors.Raw(Thumbnails, safetensors.U8, []int64{3}, []byte("png")),
		}
		if bundle != "" {
			if err := Seal(meta, tensors); err != nil {
				t.Fatal(err)
			}
		}
		if err := safetensors.Write(path, tensors, meta); err != nil {
			t.Fatal(err)
		}
		read, err := Open(path)
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+": ") && !strings.HasPrefix(err.Error(), "config of the checkpoint") {
				t.Errorf("have %q, want an error that begins with the file", err)
			}
			return
		}
		defer read.Close()
		if err := Write(path+".again", *read.Info, nil); err != nil {
			t.Fatal(err)
		}
		again, err := Open(path + ".again")
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if !reflect.DeepEqual(read.Info, again.Info) {
			t.Errorf("have %+v after it was written again, want %+v", again.Info, read.Info)
		}
	})
}

// FuzzOpen holds that a file of any bytes is refused in one line that names it, or that all its tensors can be read.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "x.safetensors")
	add := func() {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	tensors := []safetensors.Tensor{safetensors.Float32("x", []int64{2}, []float32{1, 2})}
	if err := Write(path, Info{Config: configs.Default()}, tensors); err != nil {
		f.Fatal(err)
	}
	add()
	if err := safetensors.Write(path, tensors, map[string]string{"format": Format, "iteration": "1", "config": "name: x"}); err != nil {
		f.Fatal(err)
	}
	add()
	f.Add([]byte("\x00\x00\x00\x00\x00\x01\x00\x00{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		read, err := Open(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) && !strings.HasPrefix(err.Error(), "config of the checkpoint") {
				t.Errorf("have %q, want an error that names the file", err)
			}
			return
		}
		defer read.Close()
		for _, name := range read.Names() {
			if have, err := read.Bytes(name); err != nil || len(have) > len(data) {
				t.Errorf("%q: have %d bytes of %d, %v", name, len(have), len(data), err)
			}
		}
	})
}
