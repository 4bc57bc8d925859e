package main

import (
	"testing"

	"mvag-torch/configs"
)

// TestProbe: the steps that doctor measures are those of the run, at its precision.
func TestProbe(t *testing.T) {
	cfg, err := configs.Load("quickstart", "precision=tf32", "device=cpu", "backbone.layers=[1]", "model.decoder_depth=1")
	if err != nil {
		t.Fatal(err)
	}
	p, err := probe(cfg)
	if err != nil || len(p.Smoke) == 0 {
		t.Fatalf("have %+v, %v", p, err)
	}
	s := p.Smoke[0]
	if s.Device != "cpu" || s.Precision != "tf32" || s.Error != "" || !(s.Seconds > 0) || s.Trainable == 0 {
		t.Errorf("have %+v, want steps on the CPU in tf32", s)
	}
}
