package dataset

import "fmt"

// Size returns the width and height of the JPEG or PNG file at path in pixels, turned as Image turns it. Errors name
// the file.
func (f Fit) Size(path string) (w, h int, err error) {
	data, err := readFile(path, nil)
	if err != nil {
		return 0, 0, err
	}
	if w, h, err = imageSize(data, f.Exif); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	return w, h, nil
}

// Seen returns what part of an image of w x h pixels the model sees: the crop begins at (x, y) and is width x height
// pixels of the image, which need not be whole numbers.
func (f Fit) Seen(w, h int) (x, y, width, height float64) {
	across, down := float64(w)/float64(f.Resize), float64(h)/float64(f.Resize)
	at, side := float64(f.offset()), float64(f.Crop)
	return at * across, at * down, side * across, side * down
}
