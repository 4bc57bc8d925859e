package dataset

import (
	"regexp"
	"slices"
	"strings"
)

// goodNames are the names of folders of good images, and labels.
var goodNames = []string{"good", "ok", "normal"}

// goodLabels are other labels of good images: answers to whether there is a defect, and how programs write an empty
// cell. Single letters are not among them, since N may be no, normal or not good, nor is NA, which may be a code.
var goodLabels = append([]string{"", "-", "n/a", "<na>", "no", "none", "false", "nan", "null"}, goodNames...)

// zero matches the number 0, as programs and spreadsheets write it: 0, 0.0, 0,00, 0.000e+00.
var zero = regexp.MustCompile(`^[-+]?(0+([.,]0*)?|[.,]0+)([eE][-+]?[0-9]+)?$`)

const wantGood = "good, ok, normal, no, none, false, 0 or nothing"

// isGoodFolder reports whether a folder of that name contains good images.
func isGoodFolder(name string) bool {
	return slices.Contains(goodNames, strings.ToLower(strings.TrimSpace(name)))
}

// IsGoodLabel reports whether a label means a good image. All others are defect codes.
func IsGoodLabel(label string) bool {
	label = strings.TrimSpace(label)
	return slices.Contains(goodLabels, strings.ToLower(label)) || zero.MatchString(label)
}
