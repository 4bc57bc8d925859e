package line

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"mvag-torch/dataset"
)

// reason is a Why with its text, "" for none.
type reason struct {
	Why
	text string
}

func because(code, camera, of, format string, args ...any) reason {
	return reason{Why{code, camera, of}, fmt.Sprintf(format, args...)}
}

// look decodes the images of an object, and says what is wrong with them.
func look(v *live, o dataset.Object, pixels int) (part TaughtPart, files []taughtFile, why reason) {
	part.Cameras = []string{}
	source := dataset.NewSource(v.setup.Config.Data)
	source.Depths, source.Fit.Pixels = v.setup.Trained.Depths, pixels
	room := make([]uint8, len(source.Fit.Tiles())*3*v.setup.Config.Data.Crop.Area())
	seen := map[string]string{}
	for _, view := range o.Views {
		if !view.Present() {
			continue
		}
		camera := v.model.Cameras[view.Camera]
		part.Cameras = append(part.Cameras, camera)
		sum := sha256.Sum256(view.Data)
		f := taughtFile{Camera: view.Camera, Name: view.Path, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(view.Data))}
		w, h, err := source.Image(source.At(view, o.Class), room)
		if f.Width, f.Height = w, h; err != nil {
			why = cmp.Or(why, because(WhyUnreadable, camera, err.Error(), "%s: cannot be read: %v", camera, err))
		}
		if other := seen[f.SHA256]; other != "" {
			why = cmp.Or(why, because(WhyTwice, camera, other, "%s: is the same file as the image of %s", camera, other))
		}
		seen[f.SHA256] = camera
		files = append(files, f)
	}
	if len(o.Views) != v.model.Views {
		part.Cameras = []string{SinglePart}
		why = cmp.Or(why, because(WhySingle, "", "", "have a single image of no camera, want one of each of %q", v.model.Cameras))
	}
	return part, files, why
}

// refuses says why files do not go with those that were accepted, the zero reason where they do.
func (s *session) refuses(files []taughtFile) reason {
	content := contentOf(files)
	for i, p := range s.Parts {
		if !s.Session.Objects[i].Accepted {
			continue
		}
		if len(content) > 0 && maps.Equal(contentOf(p.Files), content) {
			return because(WhySame, "", s.Session.Objects[i].Object, "has the same files as %.100q", s.Session.Objects[i].Object)
		}
		same := slices.EqualFunc(p.Files, files, func(a, b taughtFile) bool { return a.Camera == b.Camera })
		if !same {
			return because(WhyCameras, "", s.Session.Objects[i].Object, "has other cameras than %.100q, which has %q", s.Session.Objects[i].Object, s.Session.Objects[i].Cameras)
		}
	}
	return reason{}
}

func contentOf(files []taughtFile) map[string]bool {
	set := map[string]bool{}
	for _, f := range files {
		set[f.SHA256] = true
	}
	return set
}

// trainedOn says which file is a training image of the model, if any. A class that is remembered anew may have been
// remembered from the same files before.
func (s *session) trainedOn(v *live, files []taughtFile) reason {
	u, class := v.setup, s.Session.Class
	if _, trained := u.Trained.TrainLists[class]; !trained || u.Memory.Alone(class) || u.Memory.Untrained() {
		return reason{}
	}
	for _, f := range files {
		sum, err := hex.DecodeString(f.SHA256)
		if err == nil && u.Trained.TrainImages.Has(dataset.FileHash(sum[:8])) {
			return because(WhyTrained, v.model.Cameras[f.Camera], "", "%s: is a training image of the model", v.model.Cameras[f.Camera])
		}
	}
	return reason{}
}

// odd says what is odd about files that are accepted, if anything.
func (s *session) odd(files []taughtFile) reason {
	for i, p := range s.Parts {
		if !s.Session.Objects[i].Accepted {
			continue
		}
		for j, f := range files {
			if o := p.Files[j]; f.Width != o.Width || f.Height != o.Height {
				return because(WhySize, fmt.Sprint("C", f.Camera+1), s.Session.Objects[i].Object, "warning: C%d has %d x %d pixels, that of %.100q has %d x %d", f.Camera+1, f.Width, f.Height, s.Session.Objects[i].Object, o.Width, o.Height)
			}
		}
		return reason{}
	}
	return reason{}
}
