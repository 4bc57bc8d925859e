package inspect

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/model/modeltest"
)

// TestJoined puts the overlapping tiles of an image together: the pixels are those of the image in one piece.
func TestJoined(t *testing.T) {
	tiles := dataset.Fit{Mode: dataset.Tiles, Resize: configs.Size{60, 98}, Crop: configs.Square(42), Overlap: 0.25}
	whole := dataset.Fit{Mode: dataset.Pad, Resize: tiles.Resize, Crop: tiles.Resize}
	v := dataset.View{Data: modeltest.Noise(t, rand.New(rand.NewPCG(3, 4)))}
	cut, want := make([]uint8, len(tiles.Tiles())*3*tiles.Crop.Area()), make([]uint8, 3*whole.Crop.Area())
	for _, c := range []struct {
		fit dataset.Fit
		dst []uint8
	}{{tiles, cut}, {whole, want}} {
		if _, _, err := c.fit.Image(v, c.dst); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(tiles.Tiles()); n != 6 {
		t.Fatalf("have %d tiles, want 6", n)
	}
	if !slices.Equal(joined(cut, tiles), want) {
		t.Error("have other pixels than in one piece")
	}
	if !slices.Equal(joined(want, whole), want) {
		t.Error("one tile: have other pixels")
	}
}

// TestSeen holds that an image says what the model saw of it and gave, without a calibration, too; one that cannot be
// read does not.
func TestSeen(t *testing.T) {
	objects := someObjects(t, 2)
	calibratedPath := calibrated(t, objects)
	objects[1].Views[2].Path = filepath.Join(t.TempDir(), "none.png")
	for _, path := range []string{calibratedPath, modeltest.WriteCheckpoint(t)} {
		u, err := Read(path, Options{Uncalibrated: true})
		if err != nil {
			t.Fatal(err)
		}
		i, err := u.Start()
		if err != nil {
			t.Fatal(err)
		}
		fit := dataset.NewFit(u.Config.Data)
		err = i.Objects(t.Context(), objects, nil, func(r *Result) error {
			for j, m := range r.Images {
				seen, ok := m.Seen()
				if unreadable := r.Index == 1 && j == 2; ok == unreadable {
					t.Errorf("object %d, image %d: have pixels %v", r.Index, j, ok)
				}
				if !ok {
					continue
				}
				want := make([]uint8, 3*fit.Crop.Area())
				w, h, err := fit.Image(r.Object.Views[j], want)
				if err != nil {
					return err
				}
				if !slices.Equal(seen.Pixels, want) || seen.Content != fit.Content(w, h) {
					t.Errorf("object %d, image %d: have other pixels than decoded, or content %v", r.Index, j, seen.Content)
				}
				if len(seen.Map) != u.Config.MapSize().Area() || math.IsNaN(seen.Score) || m.Verdict != nil && m.Score != seen.Score {
					t.Errorf("object %d, image %d: have %d map pixels, score %v", r.Index, j, len(seen.Map), seen.Score)
				}
			}
			return nil
		})
		if err == nil {
			err = i.Close()
		}
		if err == nil {
			err = u.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
