package dataset

import (
	"testing"

	"mvag-torch/configs"
)

// TestTestPartOfOneLabel: a test part may have one label, one image or none.
func TestTestPartOfOneLabel(t *testing.T) {
	for name, tt := range map[string]struct {
		files           []string
		test, defective int
	}{
		"only defective": {[]string{"a/test/cut/0.png", "a/test/cut/1.png"}, 2, 2},
		"only good":      {[]string{"a/test/good/0.png", "a/test/good/1.png"}, 2, 0},
		"one image":      {[]string{"a/test/cut/0.png"}, 1, 1},
		"empty folders":  {[]string{"a/test/good/", "a/test/cut/"}, 0, 0},
		"none":           {nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configs.Data{Format: "mvtec", Views: 1, Fit: "squash", Resize: configs.Square(4), Crop: configs.Square(4), Root: lay(t, append(tt.files, "a/train/good/0.png")...)}
			set, err := Open(cfg)
			if err != nil || set.CheckTrain() != nil {
				t.Fatal(err, set.CheckTrain())
			}
			defective := 0
			for _, o := range set.Test {
				if o.Defective() {
					defective++
				}
			}
			if len(set.Test) != tt.test || defective != tt.defective {
				t.Errorf("have %d test objects, %d of them defective, want %d and %d", len(set.Test), defective, tt.test, tt.defective)
			}
			l, err := NewEvalLoader(t.Context(), set.Test, LoaderOptions{Source: set.Source, Objects: 2, Prefetch: 1})
			if tt.test == 0 {
				wantError(t, err, "no images: have 0 objects")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		})
	}
}
