package dataset

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"image"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"mvag-torch/configs"
)

var checkOptions = CheckOptions{MaskRule: MaskGT0, MapSize: configs.Square(8), Objects: 1}

// troubled writes a set with every kind of problem.
func troubled(t *testing.T) configs.Data {
	root := lay(t, "list.csv = class,object,camera,path,split,label,mask\n"+
		"cup,1,1,good.png,train,,\ncup,1,2,other.png,train,,\n"+ // 1: fine
		"cup,2,1,dent.png,train,dent,\n"+ // contaminated, no mask, one view missing
		"cup,3,1,twin.png,test,,\ncup,3,2,broken.png,test,,\n"+
		"cup,4,1,a.png,test,dent,empty.png\ncup,4,2,b.png,test,dent,small.png\n"+
		"cup,5,1,c.png,test,cut,corner.png\ncup,5,2,d.png,test,cut,lost.png\n"+
		"cup,6,1,e.png,test,cut,fine.png\ncup,6,2,strange name\u00e9.png,test,,\n"+
		"ax,1,1,ax.png,test,,\n",
		"broken.png = \x89PNG\r\n\x1a\n")
	gray := func(name string, side int, marks ...int) {
		img := image.NewGray(image.Rect(0, 0, side, side))
		for i := range img.Pix {
			img.Pix[i] = uint8(marks[0])
		}
		for _, at := range marks[1:] {
			img.Pix[at] = 255
		}
		writeFile(t, filepath.Join(root, name), pngBytes(t, img))
	}
	for i, name := range []string{"good", "other", "dent", "a", "b", "c", "d", "e", "strange name\u00e9", "ax"} {
		gray(name+".png", 16, i)
	}
	gray("twin.png", 16, 0) // as good.png
	gray("empty.png", 16, 0)
	gray("small.png", 8, 0, 3)
	gray("corner.png", 16, 0, 0)
	gray("fine.png", 16, 0, 8*16+8)
	return configs.Data{Format: "table", Table: "list.csv", Views: 2, Root: root}
}

func TestCheck(t *testing.T) {
	cfg := troubled(t)
	set, err := OpenIndex(cfg)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	opt := checkOptions
	opt.Progress = func(done, total int) {
		if done <= last || total != 12 {
			t.Errorf("progress: have %d of %d after %d", done, total, last)
		}
		last = done
	}
	have, err := Check(context.Background(), set, Fit{Resize: configs.Square(16), Crop: configs.Square(8)}, opt)
	if err != nil {
		t.Fatal(err)
	}
	if last != 12 {
		t.Errorf("progress: have %d at the end, want 12", last)
	}
	cup := have.Classes[1]
	counts := Counts{Objects: 6, TrainObjects: 2, TestObjects: 4, DefectiveObjects: 4, Images: 11, TrainImages: 3, TestImages: 8,
		Good: 5, Defective: 6, Views: 2, Codes: map[string]int{"dent": 3, "cut": 3}, Sizes: map[string]int{"16x16": 10}}
	if cup.Class != "cup" || !reflect.DeepEqual(cup.Counts, counts) {
		t.Errorf("have %+v, want %+v", cup.Counts, counts)
	}
	at := func(name string) string { return filepath.Join(cfg.Root, name) }
	for kind, want := range map[Finding][]string{
		MissingViews:   {"cup/2: no image of camera C2"},
		Contaminated:   {at("dent.png")},
		NoMask:         {at("dent.png")},
		Unreadable:     {at("broken.png") + ": truncated PNG", at("lost.png") + ": no such file"},
		MaskSize:       {at("small.png") + ": have 8x8 pixels, want 16x16 as its image " + at("b.png")},
		EmptyMask:      {at("empty.png")},
		Cropped:        {at("corner.png")},
		TrainTestTwins: {at("twin.png") + " = " + at("good.png")},
	} {
		lines := cup.Findings[kind]
		if len(lines) != len(want) {
			t.Errorf("%s: have %q, want %q", kind, lines, want)
			continue
		}
		for i := range want {
			if !strings.Contains(lines[i], want[i]) {
				t.Errorf("%s: have %q, want %q in it", kind, lines[i], want[i])
			}
		}
		delete(cup.Findings, kind)
	}
	if len(cup.Findings) > 0 {
		t.Errorf("have findings %v besides", cup.Findings)
	}
	faults := strings.Join(have.Faults, "\n")
	for _, want := range []string{`no training images of class "ax"`, `class "cup": files that cannot be read: 2; the first: `, `class "cup": masks that differ in size from their images: 1`} {
		if !strings.Contains(faults, want) {
			t.Errorf("have faults %q, want %q among them", faults, want)
		}
	}
	if len(have.Faults) != 3 {
		t.Errorf("have %d faults, want 3", len(have.Faults))
	}
}

// TestCheckTable: the table names every finding and the totals.
func TestCheckTable(t *testing.T) {
	set, err := OpenIndex(troubled(t))
	if err != nil {
		t.Fatal(err)
	}
	found, err := Check(context.Background(), set, Fit{Resize: configs.Square(16), Crop: configs.Square(8)}, checkOptions)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := found.Table(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cut:3 dent:3", "16x16:10", "cup: files that cannot be read: 2; the first: ", "total",
		"cup: views without an image: 1; the first: cup/2: no image of camera C2", "--json lists all, each file with its cause",
		"12 images, 3 train, 9 test, 6 defective, 7 objects, 2 classes\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("have\n%swant %q in it", out.String(), want)
		}
	}
	text, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	var again SetCheck
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(&again, found) {
		t.Errorf("have %+v and error %v after JSON, want %+v", again, err, found)
	}
}

func TestCheckEnds(t *testing.T) {
	set, err := OpenIndex(troubled(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Check(ctx, set, Fit{Resize: configs.Square(16), Crop: configs.Square(8)}, checkOptions); !errors.Is(err, context.Canceled) {
		t.Errorf("have %v, want %v", err, context.Canceled)
	}
}

// TestCheckBatch: fewer objects than a batch are a fault.
func TestCheckBatch(t *testing.T) {
	cfg := configs.Data{Format: "folder", Views: 1, Good: "good", Root: lay(t, "good/a.png")}
	set, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	opt := checkOptions
	opt.Objects = 2
	found, err := Check(context.Background(), set, Fit{Resize: configs.Square(4), Crop: configs.Square(4)}, opt)
	if err != nil || len(found.Faults) != 1 || !strings.Contains(found.Faults[0], "train.objects: have a batch of 2, want at most the 1") {
		t.Errorf("have error %v and %+v", err, found)
	}
	// A strip is one file: its parts are no twins of each other.
	if err := os.Remove(filepath.Join(cfg.Root, "good/a.png")); err != nil {
		t.Fatal(err)
	}
	manta := configs.Data{Format: "manta", Views: 2, Root: lay(t, "nut/train/good/0.png", "nut/test/good/1.png")}
	if set, err = Open(manta); err != nil {
		t.Fatal(err)
	}
	found, err = Check(context.Background(), set, Fit{Resize: configs.Square(4), Crop: configs.Square(4)}, checkOptions)
	if err != nil || len(found.Classes[0].Findings[TrainTestTwins]) != 1 || found.Total.Sizes["2x4"] != 4 {
		t.Errorf("have error %v and %+v, want one pair of twins and four images of 2x4", err, found)
	}
}

// TestCheckMasks: odd masks and turned images are findings of their class, each file by name, and none stops a run.
func TestCheckMasks(t *testing.T) {
	root := lay(t, "list.csv = class,object,camera,path,split,label,mask\n"+
		"cup,1,1,train.png,train,,\ncup,2,1,good.png,test,good,marked.png\ncup,3,1,clean.png,test,good,empty.png\n"+
		"cup,4,1,lossy.png,test,dent,lossy.jpg\ncup,5,1,full.png,test,dent,full_mask.png\n"+
		"cup,6,1,same.png,test,dent,same_mask.png\ncup,7,1,turned.jpg,test,dent,fine.png\ncup,8,1,last.png,test,dent,inverted.png\n")
	gray := func(value func(x, y int) uint8) *image.Gray {
		img := image.NewGray(image.Rect(0, 0, 16, 16))
		for i := range img.Pix {
			img.Pix[i] = value(i%16, i/16)
		}
		return img
	}
	square := gray(func(x, y int) uint8 { return uint8(x / 8 * (y / 8)) })
	for i, name := range []string{"train", "good", "clean", "lossy", "full", "last"} {
		writeFile(t, filepath.Join(root, name+".png"), pngBytes(t, gray(func(x, y int) uint8 { return uint8(i + x*y) })))
	}
	photo := pngBytes(t, texture(16, 16))
	for name, data := range map[string][]byte{
		"marked.png": pngBytes(t, square), "empty.png": pngBytes(t, gray(func(x, y int) uint8 { return 0 })), "fine.png": pngBytes(t, square),
		"lossy.jpg":     jpegBytes(t, gray(func(x, y int) uint8 { return 255 * (square.Pix[y*16+x]) })),
		"inverted.png":  pngBytes(t, gray(func(x, y int) uint8 { return 1 - square.Pix[y*16+x] })),
		"full_mask.png": pngBytes(t, gray(func(x, y int) uint8 { return 7 })),
		"same.png":      photo, "same_mask.png": photo,
		"turned.jpg": withOrientation(jpegBytes(t, texture(16, 16)), binary.BigEndian, 3),
	} {
		writeFile(t, filepath.Join(root, name), data)
	}
	set := opened(t, configs.Data{Format: "table", Table: "list.csv", Views: 1, Root: root})
	have, err := Check(t.Context(), set, Fit{Resize: configs.Square(16), Crop: configs.Square(16)}, checkOptions)
	if err != nil || len(have.Faults) > 0 {
		t.Fatalf("have error %v and faults %q", err, have.Faults)
	}
	at := func(name string) []string { return []string{filepath.Join(root, name)} }
	want := map[Finding][]string{
		MaskOnGood: at("marked.png"), LossyMask: at("lossy.jpg"), FullMask: append(at("full_mask.png"), at("same_mask.png")...), MaskLevels: at("same_mask.png"),
		InvertedMask: at("inverted.png"), MaskIsImage: at("same_mask.png"), Turned: {filepath.Join(root, "turned.jpg") + ": orientation 3"},
	}
	if !reflect.DeepEqual(have.Classes[0].Findings, want) {
		t.Errorf("have %q\nwant %q", have.Classes[0].Findings, want)
	}
}
