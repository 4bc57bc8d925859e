package metric

// run is a stretch of anomalous pixels in one row of a mask. Positions count
// pixels row by row.
type run struct {
	from, to int // pixels from..to-1
	parent   int // a run of the same region; itself at the root
	size     int // pixels of its region
	region   int // number of its region, from 0
}

// regions is the list of runs of one mask, in order of position.
type regions []run

// find replaces the list by the runs of mask, joins those that touch, also
// diagonally, and returns the number of regions.
func (rs *regions) find(mask []bool, width int) int {
	runs := (*rs)[:0]
	above := 0 // first run of the row above
	for start := 0; start < len(mask); start += width {
		current := len(runs)
		for i, set := range mask[start : start+width] {
			switch last := len(runs) - 1; {
			case !set:
			case last >= current && runs[last].to == start+i:
				runs[last].to++
			default:
				runs = append(runs, run{from: start + i, to: start + i + 1, parent: len(runs)})
			}
		}
		runs.join(above, current, width)
		above = current
	}
	*rs = runs
	return runs.measure()
}

// join unites the runs [above, current) of one row with those of the next,
// [current, end), wherever they touch.
func (rs regions) join(above, current, width int) {
	a := above
	for c := current; c < len(rs); c++ {
		// Shifted up by a row; one pixel to either side is a diagonal neighbour.
		from, to := rs[c].from-width, rs[c].to-width
		for a < current && rs[a].to < from {
			a++
		}
		for i := a; i < current && rs[i].from <= to; i++ {
			rs[rs.root(c)].parent = rs.root(i)
		}
	}
}

// root follows the parents of a run to the root, halving the path.
func (rs regions) root(i int) int {
	for rs[i].parent != i {
		rs[i].parent = rs[rs[i].parent].parent
		i = rs[i].parent
	}
	return i
}

// measure gives each run the size and the number of its region and counts the
// regions.
func (rs regions) measure() int {
	n := 0
	for i := range rs {
		root := rs.root(i)
		rs[root].size += rs[i].to - rs[i].from
		if root == i {
			rs[i].region = n
			n++
		}
	}
	for i := range rs {
		root := rs.root(i)
		rs[i].size, rs[i].region = rs[root].size, rs[root].region
	}
	return n
}

// pixels is the number of anomalous pixels.
func (rs regions) pixels() int {
	n := 0
	for _, r := range rs {
		n += r.to - r.from
	}
	return n
}
