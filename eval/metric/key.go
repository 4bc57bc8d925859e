package metric

import "math"

// key maps a score that is not NaN to an integer of the same order. -0 and +0 have the same key.
func key(score float32) uint32 {
	bits := math.Float32bits(score)
	if bits == 1<<31 { // -0
		bits = 0
	}
	return bits ^ (uint32(int32(bits)>>31) | 1<<31)
}

// value is the score of a key.
func value(key uint32) float32 {
	return math.Float32frombits(key ^ (uint32(int32(^key)>>31) | 1<<31))
}

// toKeys stores the keys of scores in dst, which has their length, and returns the lowest and the highest key. Nan is
// the index of the first NaN, or -1.
func toKeys(dst []uint32, scores []float32) (low, high uint32, nan int) {
	dst = dst[:len(scores)]
	low = 1<<32 - 1
	for i, s := range scores {
		if s != s {
			return 0, 0, i
		}
		k := key(s)
		dst[i] = k
		low, high = min(low, k), max(high, k)
	}
	return low, high, -1
}

// pack joins a key, or the index of an edge, with a region, so that sorting sorts by key.
func pack(key, region uint32) uint64 { return uint64(key)<<32 | uint64(region) }

// unpack undoes pack.
func unpack(p uint64) (key, region uint32) { return uint32(p >> 32), uint32(p) }
