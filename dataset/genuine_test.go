package dataset

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/testenv"
)

// realIAD contains the numbers of images and objects per class in the published index files.
var realIAD = map[string]struct{ trainImages, train, testImages, defective, test, defectiveObjects int }{
	"audiojack":         {1235, 247, 3815, 1296, 763, 517},
	"bottle_cap":        {1230, 246, 3785, 1631, 757, 511},
	"button_battery":    {1210, 242, 3790, 2150, 758, 517},
	"end_cap":           {1205, 241, 3805, 2183, 761, 520},
	"eraser":            {1230, 246, 3835, 1488, 767, 521},
	"fire_hood":         {1255, 251, 3770, 1350, 754, 504},
	"mint":              {835, 167, 4470, 2099, 894, 727},
	"mounts":            {1250, 250, 3800, 1338, 760, 511},
	"pcb":               {1235, 247, 3775, 2289, 755, 509},
	"phone_battery":     {1210, 242, 3790, 1550, 758, 517},
	"plastic_nut":       {1255, 251, 3755, 1246, 751, 500},
	"plastic_plug":      {1215, 243, 3780, 1419, 756, 514},
	"porcelain_doll":    {1210, 242, 3790, 1255, 758, 517},
	"regulator":         {1245, 249, 3855, 1080, 771, 522},
	"rolled_strip_base": {1245, 249, 3805, 2525, 761, 513},
	"sim_card_set":      {1245, 249, 3785, 2069, 757, 508},
	"switch":            {1230, 246, 3820, 1994, 764, 518},
	"tape":              {1250, 250, 3850, 1443, 770, 520},
	"terminalblock":     {1220, 244, 3830, 2008, 766, 523},
	"toothbrush":        {1225, 245, 3780, 2027, 756, 512},
	"toy":               {1250, 250, 3775, 2190, 755, 506},
	"toy_brick":         {1240, 248, 3770, 1536, 754, 506},
	"transistor1":       {1245, 249, 3755, 2117, 751, 503},
	"u_block":           {1250, 250, 3740, 1214, 748, 499},
	"usb":               {1230, 246, 3820, 1754, 764, 518},
	"usb_adaptor":       {1155, 231, 3860, 1520, 772, 542},
	"vcpill":            {1260, 252, 3765, 1470, 753, 501},
	"wooden_beads":      {1090, 218, 3915, 1684, 783, 566},
	"woodstick":         {1255, 251, 3750, 1073, 750, 500},
	"zipper":            {1255, 251, 3750, 2331, 750, 500},
}

// TestRealIAD compares the 30 genuine index files with the totals in the Real-IAD paper.
func TestRealIAD(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testenv.Shared(t, "realiad_json"), "*.json.gz"))
	if err != nil || len(files) != 30 {
		t.Fatalf("have %d index files and error %v, want 30", len(files), err)
	}
	cfg := configs.Default().Data
	cfg.Root = t.TempDir()
	for _, file := range files {
		unzip(t, file, filepath.Join(cfg.Root, "realiad_jsons", strings.TrimSuffix(filepath.Base(file), ".gz")))
	}
	found := checkIndex(t, cfg)
	for _, c := range found.Classes {
		want := realIAD[c.Class]
		if c.TrainObjects != want.train || c.TestObjects != want.test || c.TrainImages != want.trainImages || c.TestImages != want.testImages ||
			c.Defective != want.defective || c.DefectiveObjects != want.defectiveObjects || len(c.Findings) > 0 {
			t.Errorf("%s: have %+v and findings %v, want %+v", c.Class, c.Counts, c.Findings, want)
		}
	}
	var out bytes.Buffer
	if err := found.Table(&out); err != nil {
		t.Fatal(err)
	}
	if want := "151,050 images, 36,465 train, 114,585 test, 51,329 defective, 30,210 objects, 30 classes\n"; !strings.Contains(out.String(), want) {
		t.Errorf("have\n%swant %q in it", out.String(), want)
	}
	if codes := fmt.Sprint(found.Total.Codes); codes != "map[AK:6774 BX:2569 CH:2911 HS:8702 PS:2120 QS:12607 YW:1417 ZW:14229]" {
		t.Errorf("have defects %s", codes)
	}
	if len(found.Faults) != 0 {
		t.Errorf("have faults %q, want none", found.Faults)
	}
}

// checkIndex runs Check on the index of a set and verifies that IDs of objects are unique.
func checkIndex(t *testing.T, cfg configs.Data) *SetCheck {
	t.Helper()
	set, err := OpenIndex(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, o := range slices.Concat(set.Train, set.Test) {
		ids[o.ID] = true
	}
	opt := checkOptions
	opt.IndexOnly = true
	found, err := Check(t.Context(), set, goldenFit, opt)
	if err != nil || len(ids) != found.Total.Objects {
		t.Fatalf("have error %v and %d different objects", err, len(ids))
	}
	return found
}

func unzip(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, data)
}

// TestMiniview compares with the totals that the README of the set miniview states.
func TestMiniview(t *testing.T) {
	cfg := configs.Data{Format: "realiad", Root: testenv.Shared(t, "miniview"), Index: "realiad_jsons", Images: "realiad_256", Views: 5}
	if _, err := Open(cfg); err != nil {
		t.Fatal(err)
	}
	found := checkIndex(t, cfg)
	defective := map[string]int{"bottle_cap": 57, "gear": 56, "nut": 60, "pcb": 78}
	for _, c := range found.Classes {
		if c.TrainObjects != 24 || c.TestObjects != 34 || c.Images != 290 || c.Defective != defective[c.Class] || len(c.Findings[MissingViews]) > 0 {
			t.Errorf("%s: have %+v", c.Class, c.Counts)
		}
	}
	if len(found.Classes) != len(defective) {
		t.Errorf("have %d classes, want %d", len(found.Classes), len(defective))
	}
}
