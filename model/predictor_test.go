package model_test

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/golden"
	"mvag-torch/internal/tensor"
	"mvag-torch/model"
	"mvag-torch/model/modeltest"
	"mvag-torch/model/weights"
)

// TestReplayedMaps holds that captured predictions give the same maps, by the number of objects in a batch, and that a
// batch with an absent image is not replayed.
func TestReplayedMaps(t *testing.T) {
	replays := 0
	plain, replayed := mapsOf(t, tensor.CPU, func(_ *tensor.Scope, _ tensor.Device, _ tensor.Recording, work func()) (tensor.Recording, error) {
		return modeltest.Again(func() { replays++; work() }), nil
	})
	if !slices.Equal(plain, replayed) {
		t.Error("maps differ")
	}
	// Of 2 objects there are 9 batches, one with an absent image; of 1 there are 3.
	if replays != 6+1 {
		t.Errorf("have %d replays, want 7", replays)
	}
}

// TestMapsOnCUDA predicts on a GPU, or on the stub of make dry-cuda, where values mean nothing.
func TestMapsOnCUDA(t *testing.T) {
	computes := modeltest.CUDA(t)
	if !computes {
		t.Setenv("MVAG_STUB_IDLE", "1")
	}
	captures := 0
	plain, replayed := mapsOf(t, 0, func(s *tensor.Scope, d tensor.Device, like tensor.Recording, work func()) (tensor.Recording, error) {
		captures++
		g, err := tensor.RecordGraph(s, d, like, work)
		if err != nil {
			t.Error(err)
		}
		return g, err
	})
	if captures != 2 {
		t.Errorf("have %d captures, want 2", captures)
	}
	if !computes {
		return
	}
	onCPU, _ := mapsOf(t, tensor.CPU, nil)
	for i := range onCPU {
		for _, have := range []float32{plain[i], replayed[i]} {
			if math.Abs(float64(have-onCPU[i])) > 1e-3 {
				t.Fatalf("element %d: have %v, want the CPU's %v", i, have, onCPU[i])
			}
		}
	}
}

// tilesConfig is for images in two tiles that are no squares.
func tilesConfig() configs.Config {
	cfg := smallConfig()
	cfg.Data.Views, cfg.Data.Fit, cfg.Data.Resize, cfg.Data.Crop, cfg.Data.Overlap = 2, "tiles", configs.Size{28, 50}, configs.Size{28, 42}, 0.25
	return cfg
}

// TestTilesOnCUDA predicts images in tiles on a GPU, some by a captured graph, or on the stub of make dry-cuda.
func TestTilesOnCUDA(t *testing.T) {
	computes := modeltest.CUDA(t)
	if !computes {
		t.Setenv("MVAG_STUB_IDLE", "1")
	}
	have := tiledMaps(t, 0)
	if !computes {
		return
	}
	if err := golden.Compare(have, tiledMaps(t, tensor.CPU), 1e-3, 0); err != nil {
		t.Error(err)
	}
}

// tiledMaps returns the maps of four batches of three objects, three tiles at a time.
func tiledMaps(t *testing.T, d tensor.Device) (maps []float32) {
	t.Helper()
	cfg := tilesConfig()
	cfg.Eval.Objects = 3
	withSmall(t, d, cfg, func(s *tensor.Scope, m *model.Model) {
		p := model.NewPredictor(s, m, nil, cfg, func(why error) { t.Errorf("not captured: %v", why) })
		b := &dataset.Batch{
			Objects: make([]*dataset.Object, 3), Views: 2, Tiles: 2, Pixels: make([]uint8, 3*2*2*3*28*42), Present: slices.Repeat([]bool{true}, 6),
			Content: slices.Repeat([]image.Rectangle{image.Rect(0, 3, 50, 25), image.Rect(0, 0, 50, 28)}, 3),
		}
		rng := rand.New(rand.NewPCG(5, 6))
		for range 4 {
			for j := range b.Pixels {
				b.Pixels[j] = uint8(rng.Uint32())
			}
			maps = append(maps, slices.Concat(p.Predict(s, b).Maps...)...)
		}
	})
	return maps
}

// TestTiles: what a batch of objects in tiles gives is what a batch gives that has each tile of all views as an object,
// by the reconstruction and by the memory, however many go through the model at a time. A view is absent, and a class is
// not remembered.
func TestTiles(t *testing.T) {
	cfg := tilesConfig()
	cfg.Memory = configs.Memory{Codes: 3, Dims: 2}
	cfg.Model.Select = "all" // of near equals, a batch of another size keeps others
	const objects, tiles, views, size = 3, 2, 2, 3 * 28 * 42
	withSmall(t, tensor.CPU, cfg, func(s *tensor.Scope, m *model.Model) {
		rng := rand.New(rand.NewPCG(5, 6))
		whole := &dataset.Batch{Views: views, Tiles: tiles, Pixels: make([]uint8, objects*views*tiles*size)}
		for i := range whole.Pixels {
			whole.Pixels[i] = uint8(rng.Uint32())
		}
		apart := &dataset.Batch{Views: views, Tiles: 1}
		for i := range objects {
			o := &dataset.Object{Class: []string{"nut", "gear", "nut"}[i], ID: fmt.Sprint(i), Views: []dataset.View{{Path: "x"}, {Camera: 1, Path: "x"}}}
			whole.Objects = append(whole.Objects, o)
			for v := range views {
				whole.Present = append(whole.Present, i != 1 || v != 0)
				whole.Content = append(whole.Content, cfg.Data.Resize.Bounds().Inset(3*v))
			}
			for k := range tiles {
				apart.Objects = append(apart.Objects, o)
				for v := range views {
					row := i*views + v
					apart.Present = append(apart.Present, whole.Present[row])
					apart.Pixels = append(apart.Pixels, whole.Pixels[(row*tiles+k)*size:][:size]...)
				}
			}
		}
		fitter := m.NewFitter([]dataset.Object{*whole.Objects[0]}, cfg.Memory, false)
		packed := m.PackImages(s, apart.Pixels[:views*size], views)
		if err := fitter.Add(whole.Objects[0], []bool{true, true}, packed); err != nil {
			t.Fatal(err)
		}
		single := cfg
		single.Data.Fit, single.Data.Resize = "squash", cfg.Data.Crop
		uncaptured := func(why error) { t.Error(why) }
		want := model.DistancesOf(model.NewPredictor(s, m, fitter.Memory, single, uncaptured), s, apart)
		for _, atOnce := range []int{1, 2, 100} {
			cfg.Eval.Objects = atOnce
			p := model.NewPredictor(s, m, fitter.Memory, cfg, uncaptured)
			have := model.DistancesOf(p, s, whole)
			if !slices.Equal(have.Rows, []int{0, 1, 4, 5}) || !slices.Equal(want.Rows, []int{0, 1, 2, 3, 8, 9, 10, 11}) {
				t.Fatalf("have images %v remembered in tiles and %v apart", have.Rows, want.Rows)
			}
			for row, present := range whole.Present {
				for k := range tiles {
					at := (row/views*tiles+k)*views + row%views
					if h, w := have.Reconstructed[row*tiles+k], want.Reconstructed[at]; present && golden.Compare(h, w, 1e-5, 0) != nil {
						t.Fatalf("%d at once, image %d, tile %d: have distances %v, want %v", atOnce, row, k, h, w)
					}
				}
			}
			for i, row := range have.Rows {
				for k := range tiles {
					at := slices.Index(want.Rows, (row/views*tiles+k)*views+row%views)
					if h, w := have.Remembered[i*tiles+k], want.Remembered[at]; golden.Compare(h, w, 1e-5, 0) != nil {
						t.Fatalf("%d at once, image %d, tile %d: have distances to the memory %v, want %v", atOnce, row, k, h, w)
					}
				}
			}
			out := p.Predict(s, whole)
			for row, present := range whole.Present {
				if (len(out.Maps[row]) == cfg.MapSize().Area()) != present || (out.Memory[row] != nil) != slices.Contains(have.Rows, row) {
					t.Errorf("image %d: have maps of %d and %d values", row, len(out.Maps[row]), len(out.Memory[row]))
				}
			}
			if contents := slices.Equal(out.Maps[0], out.Maps[1]); contents {
				t.Error("two images have the same map")
			}
		}
	})
}

// smallConfig is for images of 28 x 28 pixels in three views.
func smallConfig() configs.Config {
	cfg := configs.Default()
	cfg.Backbone = configs.Backbone{Mode: "native", Name: "vit_small_patch14_dinov2", Layers: []int{1, 3}}
	cfg.Data.Views, cfg.Data.Resize, cfg.Data.Crop = 3, configs.Square(30), configs.Square(28)
	cfg.Model.DecoderDepth = 2
	cfg.Eval.MapSize = 40
	return cfg
}

// withSmall calls f with a model of random weights, on the LibTorch thread.
func withSmall(t *testing.T, d tensor.Device, cfg configs.Config, f func(s *tensor.Scope, m *model.Model)) {
	t.Helper()
	arch, err := weights.OfConfig(cfg.Backbone)
	if err != nil {
		t.Fatal(err)
	}
	err = tensor.Run(func(s *tensor.Scope) error {
		m, err := model.New(s, d, cfg, arch, modeltest.RandomViT(4, 2))
		if err == nil {
			f(s, m)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mapsOf returns the maps of 12 batches, without replays and with.
func mapsOf(t *testing.T, d tensor.Device, record modeltest.Record) (plain, replayed []float32) {
	t.Helper()
	cfg := smallConfig()
	withSmall(t, d, cfg, func(s *tensor.Scope, m *model.Model) {
		uncaptured := func(why error) { t.Errorf("not captured: %v", why) }
		calling, replaying := model.NewPredictor(s, m, nil, cfg, uncaptured), model.NewPredictor(s, m, nil, cfg, uncaptured)
		model.SetRecord(calling, nil)
		model.SetRecord(replaying, record)
		rng := rand.New(rand.NewPCG(5, 6))
		for i := range 12 {
			objects := []int{2, 2, 2, 1}[i%4]
			b := &dataset.Batch{Objects: make([]*dataset.Object, objects), Views: 3, Tiles: 1,
				Pixels: make([]uint8, objects*3*3*28*28), Present: slices.Repeat([]bool{true}, 3*objects),
				Content: slices.Repeat([]image.Rectangle{image.Rect(0, 0, 28, 28)}, 3*objects)}
			for j := range b.Pixels {
				b.Pixels[j] = uint8(rng.Uint32())
			}
			b.Present[1] = i != 9
			plain = append(plain, slices.Concat(calling.Predict(s, b).Maps...)...)
			replayed = append(replayed, slices.Concat(replaying.Predict(s, b).Maps...)...)
		}
	})
	return plain, replayed
}
