package dataset

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mvag-torch/configs"
	"mvag-torch/internal/testdata"
)

// realIAD are pictures and objects of training and test, and defective
// pictures and objects, per class of the genuine index files (realiad.md
// section B3).
var realIAD = map[string]struct{ trainPictures, train, testPictures, defective, test, defectiveObjects int }{
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

// TestRealIAD reads the 30 genuine index files. The totals are those of the
// Real-IAD paper.
func TestRealIAD(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata.Shared(t, "realiad_json"), "*.json.gz"))
	if err != nil || len(files) != 30 {
		t.Fatalf("have %d index files and error %v, want 30", len(files), err)
	}
	root := t.TempDir()
	for _, file := range files {
		unzip(t, file, filepath.Join(root, "realiad_jsons", strings.TrimSuffix(filepath.Base(file), ".gz")))
	}
	set, err := OpenIndex(configs.Data{Format: "realiad", Root: root, Index: "realiad_jsons", Images: "realiad_1024", Views: 5})
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Missing) != 0 {
		t.Errorf("have %d missing views, want 0; the first: %s", len(set.Missing), set.Missing[0])
	}
	var sum counts
	defectiveObjects := map[string]int{}
	ids := map[string]bool{}
	for _, objects := range [][]Object{set.Train, set.Test} {
		for i := range objects {
			ids[objects[i].ID] = true
			if objects[i].Defective() {
				defectiveObjects[objects[i].Class]++
			}
		}
	}
	for class, have := range count(set) {
		want := realIAD[class]
		if have.train != want.train || have.test != want.test || have.pictures != want.trainPictures+want.testPictures ||
			have.defective != want.defective || defectiveObjects[class] != want.defectiveObjects {
			t.Errorf("%s: have %+v and %d defective objects, want %+v", class, have, defectiveObjects[class], want)
		}
		sum.train += have.train
		sum.test += have.test
		sum.pictures += have.pictures
		sum.defective += have.defective
	}
	if want := (counts{7293, 22917, 151050, 51329}); sum != want || 5*sum.train != 36465 || 5*sum.test != 114585 {
		t.Errorf("have %+v, want %+v", sum, want)
	}
	if len(ids) != 30210 {
		t.Errorf("have %d distinct objects, want 30210", len(ids))
	}
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

// counts are what TestMiniview and TestRealIAD compare.
type counts struct{ train, test, pictures, defective int }

func count(set *Set) map[string]counts {
	all := map[string]counts{}
	add := func(objects []Object, train bool) {
		for _, o := range objects {
			c := all[o.Class]
			if train {
				c.train++
			} else {
				c.test++
			}
			for _, v := range o.Views {
				if v.Present() {
					c.pictures++
				}
				if v.Defective() {
					c.defective++
				}
			}
			all[o.Class] = c
		}
	}
	add(set.Train, true)
	add(set.Test, false)
	return all
}

// TestMiniview: the totals of miniview/README.md; defective views are 56, 78,
// 57 and 60 by its table.
func TestMiniview(t *testing.T) {
	root := testdata.Shared(t, "miniview")
	set, err := Open(configs.Data{Format: "realiad", Root: root, Index: "realiad_jsons", Images: "realiad_256", Views: 5})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]counts{
		"gear": {24, 34, 290, 56}, "pcb": {24, 34, 290, 78}, "bottle_cap": {24, 34, 290, 57}, "nut": {24, 34, 290, 60},
	}
	for class, have := range count(set) {
		if have != want[class] {
			t.Errorf("%s: have %+v, want %+v", class, have, want[class])
		}
	}
	if !slices.Equal(set.Classes, []string{"bottle_cap", "gear", "nut", "pcb"}) || len(set.Missing) != 0 {
		t.Errorf("have classes %q and %d missing views", set.Classes, len(set.Missing))
	}
}
