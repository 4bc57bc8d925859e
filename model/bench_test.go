package model_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/memory"
)

// BenchmarkMemory times what a memory costs at 5 views, with random weights and images: encode an object to remember it,
// fit a class of 20 objects once they are encoded, and judge an object by memory alone and by both heads.
func BenchmarkMemory(b *testing.B) {
	const views, good = 5, 20
	for name, size := range map[string]struct {
		backbone     string
		resize, crop int
	}{
		"s224": {"vit_small_patch14_dinov2", 256, 224},
		"b392": {"vit_base_patch14_reg4_dinov2", 448, 392},
	} {
		cfg := configs.Default()
		cfg.Backbone.Name, cfg.Data.Resize, cfg.Data.Crop = size.backbone, configs.Square(size.resize), configs.Square(size.crop)
		objects := make([]dataset.Object, good)
		for i := range objects {
			objects[i] = dataset.Object{Class: "gear", ID: fmt.Sprint("gear/", i)}
			for c := range views {
				objects[i].Views = append(objects[i].Views, dataset.View{Camera: c, Path: "x"})
			}
		}
		batch := &dataset.Batch{Views: views, Tiles: 1, Objects: []*dataset.Object{&objects[0]},
			Pixels: make([]uint8, views*3*cfg.Data.Crop.Area())}
		for range views {
			batch.Present, batch.Content = append(batch.Present, true), append(batch.Content, cfg.Data.Crop.Bounds())
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range batch.Pixels {
			batch.Pixels[i] = uint8(rng.Uint32())
		}
		var packed []byte
		with := func(part string, work func(s *tensor.Scope, m *model.Model, b *testing.B)) {
			b.Run(name+"/"+part, func(b *testing.B) {
				err := tensor.Run(func(s *tensor.Scope) error {
					m, err := model.OpenRandom(s, cfg)
					if err == nil {
						work(s, m, b)
					}
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			})
		}
		with("encode", func(s *tensor.Scope, m *model.Model, b *testing.B) {
			for b.Loop() {
				s.Local(func(s *tensor.Scope) *tensor.Tensor { packed = m.PackImages(s, batch.Pixels, views); return nil })
			}
		})
		var remembered *memory.Memory
		with("fit", func(_ *tensor.Scope, m *model.Model, b *testing.B) {
			for b.Loop() {
				fitter := m.NewFitter(objects, cfg.Memory, false)
				for i := range objects {
					if err := fitter.Add(&objects[i], batch.Present, packed); err != nil {
						panic(err) // b.Fatal would end the device's thread
					}
				}
				remembered = fitter.Memory
			}
		})
		for _, alone := range []bool{true, false} {
			with(map[bool]string{true: "judge by memory", false: "judge by both"}[alone], func(s *tensor.Scope, m *model.Model, b *testing.B) {
				remembered.Only = alone
				p := model.NewPredictor(s, m, remembered, cfg, func(error) {})
				for b.Loop() {
					p.Predict(s, batch)
				}
			})
		}
	}
}
