package checkpoint

import (
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/safetensors"
)

func TestWriteAndOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	want := Info{configs.Default(), 7, "0123", dataset.Naming{Pattern: "{object}-{camera}", Cameras: []string{"left", "right"}}, map[string]string{"nut": "4567"},
		dataset.FileHashes{{1}, {1, 2}, {255}}, dataset.Depths{"nut": 12}, `{"nut":{}}`, []int{3, 5}}
	want.Config.Train.Holdout = 0.25
	tensors := []safetensors.Tensor{
		safetensors.Float32("x", []int64{2}, []float32{1, 2}), safetensors.Float32(Optimizer+"m.x", []int64{2}, []float32{3, 4}),
		safetensors.Raw(RNG+"cpu", safetensors.U8, []int64{1}, []byte{5}),
	}
	if err := Write(path, want, tensors); err != nil {
		t.Fatal(err)
	}
	for _, calibration := range []string{"", "{}"} {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !reflect.DeepEqual(*f.Info, want) || f.Calibration() != calibration {
			t.Errorf("have %+v, calibration %q, want %+v, %q", *f.Info, f.Calibration(), want, calibration)
		}
		trained, err := f.Weights()
		if err != nil || len(trained) != 1 || trained["x"].Data[1] != 2 {
			t.Errorf("weights: have %v, error %v", trained, err)
		}
		below, err := f.Below(Optimizer + "m.")
		if err != nil || len(below) != 1 || below["x"].Data[1] != 4 {
			t.Errorf("moments: have %v, error %v", below, err)
		}
		if err := f.Rewrite(map[string]string{CalibrationKey: "{}"}, "", nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMetadata(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file.safetensors")
	good := map[string]string{"format": formatUnsealed, "config": "name: x\ntrain: {holdout: 0.5}", "iteration": "3", "backbone.sha256": "ab"}
	for name, test := range map[string]struct {
		change  map[string]string
		holdout float64
		want    string // of the error
	}{
		"as before the naming": {nil, 0.5, ""},
		"before the hold-out":  {map[string]string{"config": "name: 'holdout: 0.5' # holdout: 1"}, 0, ""},
		"hold-out of the data": {map[string]string{"config": "data: {holdout: 0.5}"}, 0, ""},
		"without a seal":       {map[string]string{"format": Format}, 0, "want none…: the file is damaged"},
		"a later format":       {map[string]string{"format": "mvag-torch checkpoint 9"}, 0, `have "mvag-torch checkpoint 9", want "mvag-torch checkpoint 2"`},
		"iteration":            {map[string]string{"iteration": "-1"}, 0, `iteration: have "-1"`},
		"configuration":        {map[string]string{"config": "nam: x"}, 0, "nam"},
		"naming":               {map[string]string{"naming": "{object}"}, 0, "naming"},
	} {
		meta := maps.Clone(good)
		maps.Copy(meta, test.change)
		if err := safetensors.Write(path, nil, meta); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: have %v, want %q", name, err, test.want)
		}
		if err != nil {
			continue
		}
		if f.Info.Config.Train.Holdout != test.holdout {
			t.Errorf("%s: have a hold-out of %v, want %v", name, f.Info.Config.Train.Holdout, test.holdout)
		}
		f.Close()
	}
	if err := safetensors.Write(path, nil, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(path); err != nil || f.Info != nil {
		t.Errorf("bare weights: have %v, error %v", f, err)
	}
}
