package line

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	xdraw "golang.org/x/image/draw"

	"mvag-torch/inspect"
	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/heatmap"
	"mvag-torch/internal/regularfile"
)

// The layers of a Picture.
const (
	Seen    = "seen"    // the image as the model saw it
	Heat    = "heat"    // the anomaly map in fixed colours
	Overlay = "overlay" // the map over the image, with the outlines of the regions
)

// pictureSide is the longer side of a picture at most, in pixels.
const pictureSide = 1024

// Picture is what is kept of an image.
type Picture struct {
	Camera int         // from 1; 0 of a single image
	Seen   image.Image // as the model saw it
	Map    *image.Gray // calibrated values, 255 for 1; from 128 on they are above the threshold of pixels
}

// Pictures are those of the images of a result that have a verdict.
func Pictures(r *inspect.Result) (pictures []Picture) {
	for i := range r.Images {
		if m := &r.Images[i]; m.Verdict != nil {
			seen, values := m.Picture(pictureSide)
			pictures = append(pictures, Picture{m.Camera, seen, values})
		}
	}
	return pictures
}

// Draw draws a layer.
func (p Picture) Draw(layer string) (image.Image, error) {
	size := p.Seen.Bounds()
	if layer == Seen {
		return p.Seen, nil
	}
	scaled := image.NewGray(image.Rectangle{Max: size.Size()})
	xdraw.BiLinear.Scale(scaled, scaled.Rect, p.Map, p.Map.Bounds(), draw.Src, nil)
	values, mask := make([]float32, len(scaled.Pix)), make([]bool, len(scaled.Pix))
	for i, v := range scaled.Pix {
		values[i], mask[i] = float32(v)/255, v >= 128
	}
	switch layer {
	case Heat:
		return heatmap.Heat(values, size.Dx()), nil
	case Overlay:
		seen := image.NewRGBA(scaled.Rect)
		draw.Draw(seen, seen.Rect, p.Seen, size.Min, draw.Src)
		return heatmap.Overlay(seen, values, mask), nil
	}
	return nil, fmt.Errorf("layer: have %q, want %s, %s or %s", layer, Seen, Heat, Overlay)
}

// Sheet draws the overlays of all pictures side by side.
func Sheet(pictures []Picture) (*image.RGBA, error) {
	var width, height int
	for _, p := range pictures {
		width, height = width+p.Seen.Bounds().Dx(), max(height, p.Seen.Bounds().Dy())
	}
	sheet, x := image.NewRGBA(image.Rect(0, 0, width, height)), 0
	for _, p := range pictures {
		overlay, err := p.Draw(Overlay)
		if err != nil {
			return nil, err
		}
		draw.Draw(sheet, overlay.Bounds().Add(image.Pt(x, 0)), overlay, image.Point{}, draw.Src)
		x += overlay.Bounds().Dx()
	}
	return sheet, nil
}

// encoded are pictures of an object as they are kept: two files, with all views side by side.
type encoded struct{ seen, maps []byte }

// encode joins pictures, which are all of one size.
func encode(pictures []Picture) (encoded, error) {
	size, of := pictures[0].Seen.Bounds().Size(), pictures[0].Map.Rect.Size()
	seen, maps := image.NewRGBA(image.Rect(0, 0, size.X*len(pictures), size.Y)), image.NewGray(image.Rect(0, 0, of.X*len(pictures), of.Y))
	for i, p := range pictures {
		draw.Draw(seen, image.Rect(i*size.X, 0, (i+1)*size.X, size.Y), p.Seen, p.Seen.Bounds().Min, draw.Src)
		draw.Draw(maps, image.Rect(i*of.X, 0, (i+1)*of.X, of.Y), p.Map, p.Map.Rect.Min, draw.Src)
	}
	var s, m bytes.Buffer
	err := jpeg.Encode(&s, seen, &jpeg.Options{Quality: 90})
	if err == nil {
		err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&m, maps)
	}
	return encoded{s.Bytes(), m.Bytes()}, err
}

// The ends of the names of the files of pictures, after the id of the object.
const (
	seenSuffix = "_seen.jpg"
	mapSuffix  = "_map.png"
)

// pictureFiles are the files of the pictures of an object, a folder for each thousand.
func (l *Line) pictureFiles(id string) (seen, maps string, err error) {
	_, number, ok := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return "", "", fmt.Errorf("id: have %q, want one of a record", id)
	}
	base := filepath.Join(l.opt.Folder, "objects", fmt.Sprintf("%06d", n/1000), filepath.Base(id))
	return base + seenSuffix, base + mapSuffix, nil
}

// keep writes the pictures of an object, or none. They are not waited for to be on the disk: a crash may lose those of the
// last seconds.
func (l *Line) keep(id string, e encoded) error {
	seen, maps, err := l.pictureFiles(id)
	if err == nil {
		_, err = l.makeFolders("objects", filepath.Base(filepath.Dir(seen)))
	}
	if err != nil {
		return err
	}
	err = os.WriteFile(seen, e.seen, 0o644)
	if err == nil {
		err = os.WriteFile(maps, e.maps, 0o644)
	}
	if err != nil {
		_ = l.forget([]string{id}) // what there is of them; the next object has the id
	}
	return err
}

// Kept reads the pictures of a record; there are none where fs.ErrNotExist is the cause.
func (l *Line) Kept(r Record) ([]Picture, error) {
	seenFile, mapFile, err := l.pictureFiles(r.ID)
	if err != nil {
		return nil, err
	}
	if !r.Pictures {
		return nil, fmt.Errorf("object %s: pictures were not kept: %w", r.ID, fs.ErrNotExist)
	}
	seen, err := readImage(seenFile, jpeg.Decode)
	if err != nil {
		return nil, err
	}
	drawn, err := readImage(mapFile, png.Decode)
	if err != nil {
		return nil, err
	}
	maps, ok := drawn.(*image.Gray)
	cut, cuttable := seen.(interface {
		SubImage(image.Rectangle) image.Image
	})
	var pictures []Picture
	for _, line := range r.Images {
		if line.Verdict != nil {
			pictures = append(pictures, Picture{Camera: line.Camera})
		}
	}
	if n := len(pictures); !ok || !cuttable || n == 0 || seen.Bounds().Dx()%n != 0 || maps.Rect.Dx()%n != 0 {
		return nil, fmt.Errorf("%s: have other images than the record", seenFile)
	}
	for i := range pictures {
		column := func(r image.Rectangle) image.Rectangle {
			w := r.Dx() / len(pictures)
			return image.Rect(i*w, 0, (i+1)*w, r.Dy())
		}
		pictures[i].Seen = cut.SubImage(column(seen.Bounds()))
		pictures[i].Map = maps.SubImage(column(maps.Rect)).(*image.Gray)
	}
	return pictures, nil
}

func readImage(path string, decode func(io.Reader) (image.Image, error)) (image.Image, error) {
	f, _, err := regularfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	img, err := decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, nil
}

// forget removes the pictures of records that are no longer kept.
func (l *Line) forget(ids []string) error {
	var all []error
	for _, id := range ids {
		seen, maps, err := l.pictureFiles(id)
		if err != nil {
			continue
		}
		for _, path := range []string{seen, maps} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				all = append(all, err)
			}
		}
		_ = os.Remove(filepath.Dir(seen)) // once it is empty
	}
	return errors.Join(all...)
}

// tidy removes pictures without a record, which a process leaves that is killed before it has stored the record or after it
// has removed it, and what is left of a probe. Files of other names stay, and those of another journal. Beside the models it
// removes what a process leaves that is killed while it replaces one.
func (l *Line) tidy() {
	for _, s := range l.slots {
		atomicfile.Sweep(filepath.Dir(s.Path))
	}
	top := filepath.Join(l.opt.Folder, "objects")
	var gone []string
	folders, err := os.ReadDir(top)
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		files, unread := os.ReadDir(filepath.Join(top, folder.Name()))
		err = errors.Join(err, unread)
		for _, f := range files {
			id, found := strings.CutSuffix(f.Name(), seenSuffix)
			if !found {
				id, found = strings.CutSuffix(f.Name(), mapSuffix)
			}
			if found && l.opt.Journal.Lacks(id) {
				gone = append(gone, id)
			}
		}
	}
	err = errors.Join(err, os.RemoveAll(filepath.Join(top, probeFile)), l.forget(gone))
	if len(gone) > 0 {
		l.opt.Log.Info("pictures of objects that have no record were removed", "files", len(gone))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.opt.Log.Warn("not all pictures of objects that have no record could be removed", "cause", err)
	}
}
