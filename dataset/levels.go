package dataset

import "slices"

// levels are the distinct values of an image, one more than MaxLevels at most.
type levels []uint64

func (l *levels) add(v uint64) {
	if len(*l) <= MaxLevels && !slices.Contains(*l, v) {
		*l = append(*l, v)
	}
}

// values are the distinct numbers of the pixels of an image.
type values struct {
	all, shown levels // without regard to alpha, and those that are visible
	clear      bool   // some are not visible
	least      uint64 // of a mask that was lossy before: the lowest brightest channel of a defect; 0 for other masks
}

func (d *values) add(number uint64) {
	d.all.add(number &^ visible)
	if number&visible == 0 {
		d.clear = true
		return
	}
	d.shown.add(number)
}

// alpha reports whether alpha counts.
func (d *values) alpha() bool { return d.clear && len(d.shown) > 0 }

// label is 255 for the number of a defect, else 0.
func (d *values) label(number uint64) uint8 {
	switch {
	case d.least > 0:
		if max(number&255, number>>8&255, number>>16&255) < d.least {
			return 0
		}
	case d.alpha() && (number&visible == 0 || len(d.shown) > 1 && number == visible), !d.alpha() && number&^visible == 0:
		return 0
	}
	return 255
}

// resaved recognises a mask of lossy compression that was saved again without, by its pixels of each value: most of those
// between 0 and the highest value ring around the two. Antialiased edges have values of all kinds, labels not both.
func (d *values) resaved(counts *[256]int) {
	const ring = 15
	top := 255
	for top > 0 && counts[top] == 0 {
		top--
	}
	if top < 200 {
		return
	}
	var low, high, between int
	for v := 1; v < top; v++ {
		switch {
		case v <= ring:
			low += counts[v]
		case v >= top-ring:
			high += counts[v]
		default:
			between += counts[v]
		}
	}
	if low > 0 && high > 0 && low+high > between {
		d.least = uint64(top+1) / 2
	}
}

func (d *values) kinds() []Finding {
	if d.least > 0 {
		return []Finding{LossyMask}
	}
	if d.alpha() && len(d.shown) > MaxLevels || !d.alpha() && len(d.all) > MaxLevels {
		return []Finding{MaskLevels}
	}
	return nil
}
