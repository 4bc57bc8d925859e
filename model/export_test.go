package model

// For tests of the parts that the recorded traces show.
var (
	Own              = (*Attention).own
	Across           = (*Attention).across
	SplitViews       = (*Attention).splitViews
	Similarity       = similarity
	Kept             = (*Attention).kept
	Smooth           = (*Mapper).smooth
	ResamplePosition = resamplePosition
	SlotOf           = slotOf
)
