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

// published are tables of others: one model for all classes of Real-IAD, the mean over classes in percent as printed,
// "-" where it is not. The first line names the columns. mAD is our mean of the seven values printed.
//
//   - Dinomaly: Guo et al., CVPR 2025, arXiv 2405.14325, table 1.
//   - INP-Former: Luo et al., CVPR 2025, table 2.
//   - MVAD: He et al., the README and log of its repository.
//   - MVMCAD: arXiv 2504.21294, abstract.
const published = `
method     I-AUROC I-AP I-F1max P-AUROC P-AP P-F1max AUPRO  mAD S-AUROC S-AP S-F1max
Dinomaly      89.3 86.8    80.2    98.8 42.8    47.1  93.9 77.0       -    -       -
INP-Former    90.5 88.1    81.5    99.0 47.5    50.3  95.0 78.8       -    -       -
MVAD          86.6 84.8    77.2    97.9 30.3    36.8  91.2 72.1    90.2 95.3    90.1
MVMCAD        91.0 88.6    82.1    99.1 43.9    48.2  95.2 78.3       -    -       -`

const publishedNote = "Rows below the mean are as their authors printed them, one model for all classes. Dinomaly and INP-Former: 448 to 392 pixels, " +
	"mask > 0, AUPRO at 200 thresholds; MVAD: 256 pixels, ADer's binned values; see docs/protocol.md before ranking."

// publishedRows returns the rows that results may be compared with: a name, then a cell per metric.
func publishedRows(r Results) [][]string {
	var classes []string
	for _, c := range r.Classes {
		classes = append(classes, c.Name)
	}
	slices.Sort(classes)
	if !slices.Equal(classes, realIAD) {
		return nil
	}
	var out [][]string
	var columns []string
	for line := range strings.Lines(strings.TrimSpace(published)) {
		cells := strings.Fields(line)
		if columns == nil {
			columns = cells
			continue
		}
		row := []string{cells[0]}
		for _, name := range metric.Names() {
			cell := "-"
			if i := slices.Index(columns, name); i >= 0 {
				cell = cells[i]
			}
			row = append(row, cell)
		}
		out = append(out, row)
	}
	return out
}
