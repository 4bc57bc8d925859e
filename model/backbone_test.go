package model_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"mvag-torch/model"
	"mvag-torch/model/checkpoint"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// TestChangedBackbone: a checkpoint is not used with another backbone than it was made with, be it by one bit. The line names
// the file.
func TestChangedBackbone(t *testing.T) {
	f, err := checkpoint.Open(modeltest.WriteCheckpoint(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	backbone := f.Info.Config.Backbone
	if _, err := model.BackboneOf(f, backbone); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(backbone.Weights)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, want string) {
		t.Helper()
		_, err := model.BackboneOf(f, backbone)
		if err == nil || !strings.Contains(err.Error(), backbone.Weights) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: have %v, want a line with the file and %q", what, err, want)
		}
	}
	data := 8 + int(binary.LittleEndian.Uint64(text))
	for at, want := range map[int]string{
		0: "", 7: "", 9: "", data - 1: "", data: f.Path + ": have the backbone ", len(text) / 2: "or it has changed since", len(text) - 1: "SHA-256",
	} {
		changed := bytes.Clone(text)
		changed[at] ^= 4
		if err := os.WriteFile(backbone.Weights, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprintf("a bit of byte %d of %d", at, len(text)), want)
	}
	for _, size := range []int{0, 5, data, len(text) / 2, len(text) - 1} {
		if err := os.WriteFile(backbone.Weights, text[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		refused(fmt.Sprintf("%d bytes of %d", size, len(text)), "")
	}
	if err := weights.WriteSafetensors(backbone.Weights, modeltest.RandomViT(2, 3), nil); err != nil {
		t.Fatal(err)
	}
	refused("other weights", f.Info.BackboneSHA256[:12])
}
