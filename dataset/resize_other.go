//go:build !amd64

package dataset

const vectorPad = 0

type vectorWeights struct{}

func (*vectorWeights) set(*axis) {}

func (*vectorWeights) rgb(dst, src []uint8, n int) (done int) { return 0 }

func vectorColumn(dst, rows []uint8, stride int, weights []int32) bool { return false }
