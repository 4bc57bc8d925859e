package dataset

import (
	"fmt"
	"slices"
	"strings"
)

// Over is a kind of what was found and not used.
type Over string

// The kinds, in the order of a line.
const (
	OverMasks     Over = "masks next to their images"           // also by the name <image>_mask
	OverTruth     Over = "folders of masks"                     // ground_truth and masks
	OverWritten   Over = "folders that mvag-torch wrote"        // heat maps, overlays and sheets
	OverHidden    Over = "hidden files"                         // names that begin with a dot, and files of operating systems
	OverOther     Over = "other files"                          // no image, or not the extension of the pattern
	OverForeign   Over = "images of formats that are not read"  // .gif, .heic
	OverNoClass   Over = "folders that are no class"            // without the folder of good or training images
	OverFolders   Over = "folders that are not read"            // of a class, beside those that have a meaning
	OverOutside   Over = "images outside the folders of labels" // in a folder that should have only folders
	OverDepth     Over = "images at another depth of folders"   // than the pattern has, or more than one below the label
	OverEmpty     Over = "folders without images"               //
	OverLoops     Over = "circular links"                       //
	OverUnmatched Over = "masks of no image"                    //
	OverRows      Over = "empty rows"                           // of tables
	OverTwice     Over = "images named twice"                   // by arguments, lists or rows
	OverColumns   Over = "columns that are not used"            // of tables
)

var overs = []Over{
	OverMasks, OverTruth, OverWritten, OverHidden, OverOther, OverForeign, OverNoClass, OverFolders, OverOutside, OverDepth, OverEmpty,
	OverLoops, OverUnmatched, OverRows, OverTwice, OverColumns,
}

// PassedOver lists what was found and not used, by kind: paths, or rows and columns of tables.
type PassedOver map[Over][]string

func (p PassedOver) add(kind Over, paths ...string) {
	if len(paths) > 0 {
		p[kind] = append(p[kind], paths...)
	}
}

// String describes each kind: how many and the first of them. It is "" if there are none.
func (p PassedOver) String() string {
	var list []string
	for _, kind := range overs {
		if paths := p[kind]; len(paths) > 0 {
			list = append(list, counted(string(kind), paths))
		}
	}
	return strings.Join(list, ", ")
}

// counted describes a list in a line: what it is, how many, and the first.
func counted(what string, paths []string) string {
	return fmt.Sprintf("%s: %d (%s)", what, len(paths), printable(paths[0]))
}

// Remarks returns what a user should know about the set before anything is computed, in lines: what was passed over,
// training images that are labelled defective, classes without a good test image, and classes whose names differ only in
// case.
func (s *Set) Remarks() []string {
	var list, defective []string
	for i := range s.Train {
		for _, v := range s.Train[i].Views {
			if v.Defective() && v.Part == 0 {
				defective = append(defective, v.Path)
			}
		}
	}
	if len(defective) > 0 {
		list = append(list, counted("training images that are labelled defective", defective))
	}
	list = append(list, s.noGoodTest()...)
	for i, class := range s.Classes {
		if j := slices.IndexFunc(s.Classes[:i], func(other string) bool { return strings.EqualFold(class, other) }); j >= 0 {
			list = append(list, fmt.Sprintf("classes that differ only in case: %q and %q", s.Classes[j], class))
		}
	}
	if text := s.PassedOver.String(); text != "" {
		list = append(list, "passed over: "+text)
	}
	return list
}

// noGoodTest names the classes that have test images but no good one, with the labels that those have: one of them may
// be a word for good that is not known.
func (s *Set) noGoodTest() []string {
	labels := map[string]map[string]int{}
	for i := range s.Test {
		o := &s.Test[i]
		if labels[o.Class] == nil {
			labels[o.Class] = map[string]int{}
		}
		for _, v := range o.Views {
			if v.Present() && v.Part == 0 {
				labels[o.Class][v.Code]++
			}
		}
	}
	var list []string
	for _, class := range s.Classes {
		if codes := labels[class]; len(codes) > 0 && codes[""] == 0 {
			list = append(list, fmt.Sprintf("class %q: no good test image; labels: %s", class, tally(codes, strings.Compare)))
		}
	}
	return list
}
