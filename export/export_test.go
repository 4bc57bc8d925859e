package export

import "math"

// Odds are the logarithms of the odds as the graph interpolates them.
func Odds(t, freedom float64) float64 {
	table := oddsTable(freedom)
	at := min(max((math.Asinh(t)+oddsReach)/oddsStep, 0), oddsPoints-1-1e-3)
	low := math.Floor(at)
	a, b := float64(table[int(low)]), float64(table[int(low)+1])
	return a + (b-a)*(at-low)
}
