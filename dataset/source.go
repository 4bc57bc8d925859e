package dataset

import (
	"errors"
	"fmt"
	"syscall"

	"mvag-torch/configs"
)

// Source provides images and masks as the model sees them, from their files or from a cache. It is safe for concurrent
// use.
type Source struct {
	Fit   Fit
	Cache *Cache // nil if the files are read
	// Skipped collects images that cannot be read and are left out; if it is nil, such an image is an error.
	Skipped *Skipped
	Read    *ReadImages // collects the image files that are read; may be nil
	Notes   *Notes      // collects what is odd about the files that are read; may be nil
	Depths  Depths      // of 16-bit images where data.bits is auto

	root      string // data.root
	automatic bool   // data.bits is auto
}

// NewSource returns the source that cfg describes, without its cache.
func NewSource(cfg configs.Data) Source {
	s := Source{Fit: NewFit(cfg), root: cfg.Root, automatic: cfg.Bits == "auto"}
	if cfg.OnError == "skip" {
		s.Skipped = &Skipped{most: cfg.MaxUnreadable}
	}
	return s
}

// Image writes the fitted image of v to dst, [T, 3, crop height, crop width], and returns the width and height of the
// original image, as [Fit.Image] does. Errors name the file.
func (s Source) Image(v View, dst []uint8) (w, h int, err error) {
	if err := s.Fit.checkRoom(v, dst); err != nil {
		return 0, 0, err
	}
	if s.Cache != nil && v.Data == nil {
		windows := s.Fit.windows(v.Tile)
		m, err := s.Cache.read(kindImage, v, func(pixels []uint8) { s.Fit.cut(pixels, windows, dst) })
		if s.Cache.mended(err, v.Path) {
			return s.decode(v, dst)
		}
		if err == nil {
			err = s.Fit.checkSize(v, m.Width, m.Height)
		}
		if err != nil {
			return 0, 0, err
		}
		s.Notes.addTraits(v.Path, m.traits)
		return m.Width, m.Height, s.Read.note(v, func() (FileHash, error) { return s.hash(v) })
	}
	return s.decode(v, dst)
}

// decode is Image of the file.
func (s Source) decode(v View, dst []uint8) (w, h int, err error) {
	memory := scratches.Get().(*scratch)
	defer scratches.Put(memory)
	r, err := s.Fit.tiles(memory, v, dst)
	if err == nil {
		err = s.Fit.checkSize(v, r.full.X, r.full.Y)
	}
	if err != nil {
		return 0, 0, err
	}
	s.Notes.addImage(v.Path, s.Fit, r)
	if v.Data == nil {
		err = s.Read.note(v, func() (FileHash, error) { return hashOf(memory.file), nil })
	}
	return r.full.X, r.full.Y, err
}

// Masks returns the mask of v by rule, MaskGT0 and MaskGT05: a map of the given size row by row, true for defects, of
// what is seen of the image. The mask is read as labels, fitted like the image, cut to [Fit.Content], resampled by
// nearest neighbour as PyTorch's interpolate does (averaged where it shrinks a lot, unless squashed), then binarised. A
// good view has an empty mask: its mask file is read for Notes only. A mask that differs in size from its image is an
// error.
func (s Source) Masks(v View, size configs.Size) (map[string][]bool, error) {
	empty := map[string][]bool{MaskGT0: make([]bool, size.Area()), MaskGT05: make([]bool, size.Area())}
	switch {
	case v.Mask == "" && v.Defective():
		return nil, fmt.Errorf("%s: defective image without a mask", printable(v.Path))
	case v.Mask == "":
		return empty, nil
	}
	memory := scratches.Get().(*scratch)
	defer scratches.Put(memory)
	plane := memory.room(s.Fit.Viewport().Area())
	found, w, h, err := s.mask(memory, v, plane)
	if err != nil {
		return nil, err
	}
	s.Notes.add(v.Mask, found)
	if !v.Defective() {
		return empty, nil
	}
	return s.Fit.byRules(memory, plane, w, h, size), nil
}

// mask writes the fitted mask of v to plane, all of the viewport, and returns what is odd about it and its size before
// the fit.
func (s Source) mask(memory *scratch, v View, plane []uint8) (found []Finding, w, h int, err error) {
	if s.Cache == nil {
		return s.decodeMask(memory, v, plane)
	}
	m, err := s.Cache.read(kindMask, v, func(pixels []uint8) { copy(plane, pixels) })
	if s.Cache.mended(err, v.Mask) {
		return s.decodeMask(memory, v, plane)
	}
	if err != nil {
		return nil, 0, 0, err
	}
	return m.Findings, m.Width, m.Height, nil
}

func (s Source) decodeMask(memory *scratch, v View, plane []uint8) (found []Finding, w, h int, err error) {
	m, err := s.Fit.mask(memory, v, plane)
	return m.kinds, m.full.X, m.full.Y, err
}

// Skip records that v is left out because of err, or returns the error to stop with: err, if it says nothing about the
// image, as errors of the machine (out of memory or file handles, a lost network) and of the cache; or that too many
// images of a class cannot be read (data.max_unreadable).
func (s Source) Skip(v View, err error) error {
	if s.Skipped == nil || errors.Is(err, errCache) {
		return err
	}
	for _, machine := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENOTCONN} {
		if errors.Is(err, machine) {
			return err
		}
	}
	return s.Skipped.add(v.Path, err)
}
