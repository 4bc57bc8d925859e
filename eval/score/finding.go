package score

import (
	"fmt"

	"mvag-torch/dataset"
)

// The kinds of what is noticed of an image and scored as it stands, by their names in results.json.
const (
	infinite   = "infinite_maps"
	infScore   = "infinite_scores"
	noMask     = "defective_without_mask"
	goodMarked = "good_with_marked_mask"
	badEmpty   = "defective_with_empty_mask"
	allMarked  = "masks_marked_all_over"
	likeMask   = "maps_like_masks"
	oddMask    = "masks_with_other_values"
	noLabel    = "without_label"
)

// kinds are in the order of messages: what the images have, and what becomes of them.
var kinds = []struct{ name, have, so string }{
	{infinite, "have infinite values in the map", "these rank highest or lowest; values by the rules of other programs are n/a"},
	{infScore, "have an infinite score in the table", "they rank highest or lowest"},
	{noMask, "are defective without a mask", "the metrics of pixels of the class are n/a"},
	{goodMarked, "are labelled good and have a marked mask", "they are good images (I-, S-) with defective pixels (P-, AUPRO)"},
	{badEmpty, "are labelled defective and have an empty mask", `their pixels count as normal; "unmasked": true would say that there is no mask`},
	{allMarked, "have a mask that is marked all over", "every pixel of theirs counts as defective"},
	{likeMask, "have a map that is zero outside of the mask and nowhere in it", "it may be the mask itself"},
	{oddMask, fmt.Sprintf("have mask values below 0, between 0 and 1, or more than %d of them", dataset.MaxLevels), "every value but zero is a defect"},
	{noLabel, "have no label, unlike others", "they count as defective if their mask has a pixel"},
}

// facts are what was noticed of an image, by kind.
type facts map[string]bool

// notice adds a fact to those of image i, which one goroutine works on at a time.
func (s *source) notice(i int, kind string, holds bool) {
	if !holds {
		return
	}
	if s.facts[i] == nil {
		s.facts[i] = facts{}
	}
	s.facts[i][kind] = true
}

// findings counts the facts of the images of a class in total, and returns a line for each kind.
func (s *source) findings(total map[string]int) (lines []string) {
	for _, k := range kinds {
		count, first := 0, ""
		for i, noticed := range s.facts {
			if noticed[k.name] {
				if count++; count == 1 {
					first = s.rows[i].Path
				}
			}
		}
		total[k.name] += count
		if count > 0 {
			lines = append(lines, fmt.Sprintf("%s: %d of %d images %s, first %s: %s", s.name, count, len(s.rows), k.have, first, k.so))
		}
	}
	return lines
}
