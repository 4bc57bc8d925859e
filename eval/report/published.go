package report

import (
	"slices"
	"strings"

	"mvag-torch/eval/metric"
)

// realIAD are the classes of Real-IAD, by name.
var realIAD = strings.Fields(`audiojack bottle_cap button_battery end_cap eraser fire_hood mint mounts pcb phone_battery
	plastic_nut plastic_plug porcelain_doll regulator rolled_strip_base sim_card_set switch tape terminalblock toothbrush
	toy toy_brick transistor1 u_block usb usb_adaptor vcpill wooden_beads woodstick zipper`)

// published is a row of somebody's table: one model for all classes of
// Real-IAD, the mean over classes in percent as printed, "" where it is not.
type published struct {
	name   string
	values [metric.Count]string
}

func (p published) cells() []string {
	cells := slices.Clone(p.values[:])
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	return cells
}

// The mAD is our mean of the seven numbers printed.
var realIADRows = []published{
	// Guo et al., Dinomaly, CVPR 2025, arXiv 2405.14325, table 1.
	{"Dinomaly", [metric.Count]string{"89.3", "86.8", "80.2", "98.8", "42.8", "47.1", "93.9", "77.0"}},
	// Luo et al., INP-Former, CVPR 2025, table 2.
	{"INP-Former", [metric.Count]string{"90.5", "88.1", "81.5", "99.0", "47.5", "50.3", "95.0", "78.8"}},
	// He et al., MVAD, its repository's README and log.
	{"MVAD", [metric.Count]string{"86.6", "84.8", "77.2", "97.9", "30.3", "36.8", "91.2", "72.1", "90.2", "95.3", "90.1"}},
	// MVMCAD, arXiv 2504.21294, abstract.
	{"MVMCAD", [metric.Count]string{"91.0", "88.6", "82.1", "99.1", "43.9", "48.2", "95.2", "78.3"}},
}

const publishedNote = "Rows below the mean are as their authors printed them, one model for all classes. Dinomaly and INP-Former: 448 to 392 pixels, " +
	"mask > 0, AUPRO at 200 thresholds; MVAD: 256 pixels, ADer's binned numbers; see docs/protocol.md before ranking."

// others returns the rows that results may be compared with.
func others(r Results) []published {
	var classes []string
	for _, c := range r.Classes {
		classes = append(classes, c.Name)
	}
	slices.Sort(classes)
	if !slices.Equal(classes, realIAD) {
		return nil
	}
	return realIADRows
}
