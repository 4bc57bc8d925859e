// Package components labels the connected components of binary masks: the defect regions that AUPRO averages over and
// the regions that predictions list. Two pixels belong together if they touch, also diagonally (8-connectivity).
package components

// Run is a stretch of set pixels in one row of a mask. Positions count pixels row by row.
type Run struct {
	From, To  int // pixels From..To-1
	Component int // number of its component, from 0, in the order of their first pixels
	Size      int // pixels of its component
	parent    int // an earlier run of the same component; the run itself at the root
}

// Runs are the runs of one mask in order of position. The zero value is ready for Find and can be reused.
type Runs []Run

// Find replaces rs by the runs of mask, [height, width] row by row, and returns the number of components.
func (rs *Runs) Find(mask []bool, width int) int {
	runs := (*rs)[:0]
	above := 0 // first run of the row above
	for start := 0; start < len(mask); start += width {
		current := len(runs)
		for i, set := range mask[start : start+width] {
			switch last := len(runs) - 1; {
			case !set:
			case last >= current && runs[last].To == start+i:
				runs[last].To++
			default:
				runs = append(runs, Run{From: start + i, To: start + i + 1, parent: len(runs)})
			}
		}
		runs.join(above, current, width)
		above = current
	}
	*rs = runs
	return runs.number()
}

// join unites the runs [above, current) of one row with the runs [current, end) of the next wherever they touch.
func (rs Runs) join(above, current, width int) {
	a := above
	for c := current; c < len(rs); c++ {
		// Shifted up by one row; one pixel to either side is a diagonal neighbour.
		from, to := rs[c].From-width, rs[c].To-width
		for a < current && rs[a].To < from {
			a++
		}
		for i := a; i < current && rs[i].From <= to; i++ {
			p, q := rs.root(c), rs.root(i)
			rs[max(p, q)].parent = min(p, q) // the root is the first run of its component
		}
	}
}

// root follows the parents of run i to the root and halves the path.
func (rs Runs) root(i int) int {
	for rs[i].parent != i {
		rs[i].parent = rs[rs[i].parent].parent
		i = rs[i].parent
	}
	return i
}

// number sets Component and Size of each run and returns the number of components.
func (rs Runs) number() int {
	n := 0
	for i := range rs {
		root := rs.root(i)
		rs[root].Size += rs[i].To - rs[i].From
		if root == i {
			rs[i].Component = n
			n++
		}
	}
	for i := range rs {
		root := rs.root(i)
		rs[i].Size, rs[i].Component = rs[root].Size, rs[root].Component
	}
	return n
}

// Pixels is the number of set pixels.
func (rs Runs) Pixels() int {
	n := 0
	for _, r := range rs {
		n += r.To - r.From
	}
	return n
}
