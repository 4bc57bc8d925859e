package calibration

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mvag-torch/internal/safetensors"
	"mvag-torch/model/checkpoint"
)

// opened is a file with this metadata.
func opened(t testing.TB, path string, meta map[string]string) *checkpoint.File {
	for key, text := range meta {
		meta[key] = strings.ToValidUTF8(text, "?")
	}
	if err := safetensors.Write(path, nil, meta); err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// FuzzSamples holds that samples of any text are refused in one line that names the file, or can be undone to the last
// addition, and are the same after they have been written again.
func FuzzSamples(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	s, err := Fit(normal(rng, "a", 5, 0), 0.05, "test")
	if err != nil {
		f.Fatal(err)
	}
	heads := Heads{Reconstruction: s}
	samples := (*Samples)(nil).Calibrated(scored(rng, "a", 6), heads, Heads{}, nil)
	text, err := samples.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	added, after, err := samples.Add(heads, scored(rng, "a", 2), "more", time.Unix(1, 0).UTC())
	if err != nil {
		f.Fatal(err)
	}
	more, err := added.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	calibration, err := after.Reconstruction.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, calibration)
	f.Add(more, calibration)
	f.Add(`{"groups":[{"false_alarm":0.1,"heads":{"both":[]},"folds":-1,"objects":[]}]}`, calibration)
	f.Add(`{"groups":[],"additions":[{"number":1}]}`, calibration)
	path := filepath.Join(f.TempDir(), "x.safetensors")
	f.Fuzz(func(t *testing.T, text, calibration string) {
		file := opened(t, path, map[string]string{checkpoint.SamplesKey: text, checkpoint.CalibrationKey: calibration})
		h, err := ReadHeads(file)
		if err != nil {
			h = heads
		}
		s, err := ReadSamples(file)
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+": "+checkpoint.SamplesKey+": ") {
				t.Errorf("have %q, want an error that begins with the file", err)
			}
			return
		}
		if s == nil {
			return
		}
		again, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again != "" {
			same, err := ReadSamples(opened(t, path+".again", map[string]string{checkpoint.SamplesKey: again}))
			if err != nil || len(same.Groups) != len(s.Groups) || len(same.Additions) != len(s.Additions) {
				t.Errorf("have %+v, %v after they were written again, want %+v", same, err, s)
			}
		}
		for range min(4, len(s.Additions)) {
			var fault error
			if s, h, _, fault = s.Undo(h); fault != nil {
				if strings.Contains(fault.Error(), "\n") {
					t.Errorf("have %q, want one line", fault)
				}
				return
			}
		}
	})
}

// FuzzHeads is FuzzSamples for the calibrations of heads.
func FuzzHeads(f *testing.F) {
	c, err := Fit(normal(rand.New(rand.NewPCG(3, 4)), "a", 5, 0), 0.05, "test")
	if err != nil {
		f.Fatal(err)
	}
	text, err := c.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, `{"memory":`+text+`,"both":`+text+`,"levels":{"a":{"reconstruction":1,"memory":2}}}`)
	f.Add("", `{"memory":null}`)
	f.Add(text, `{"memory":`+text+`,"levels":{"a":{}}}`)
	path := filepath.Join(f.TempDir(), "x.safetensors")
	f.Fuzz(func(t *testing.T, reconstruction, heads string) {
		meta := map[string]string{checkpoint.CalibrationKey: reconstruction, checkpoint.HeadsKey: heads}
		h, err := ReadHeads(opened(t, path, meta))
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("have %q, want an error that begins with the file", err)
			}
			return
		}
		for _, c := range []*Calibration{h.Reconstruction, h.Memory, h.Both} {
			if c == nil {
				continue
			}
			text, err := c.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Parse(text); err != nil || !reflect.DeepEqual(again, c) {
				t.Errorf("have %+v, %v after it was written again, want %+v", again, err, c)
			}
		}
	})
}
