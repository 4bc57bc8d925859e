package page

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestNamesOfFiles(t *testing.T) {
	b := openPage(t, newFake(t), "en", "#/inspect")
	b.Until("the page", "!!document.querySelector('#inspect-class option')")
	eval[bool](b, `import(document.querySelector("script[type=module]").src.replace("app.js", "upload.js")).then(m => { window.upload = m; }), true`)
	b.Until("the module", "!!window.upload")
	numbered, named := []string{"C1", "C2", "C3", "C10"}, []string{"top", "top_left", "side 1"}
	for _, c := range []struct {
		name, file string
		cameras    []string
		camera     int // from 0
		part       string
	}{
		{"at the end", "S17_C2.png", numbered, 1, "S17"},
		{"in front", "C3-S17.jpg", numbered, 2, "S17"},
		{"in the middle", "gear_0001_OK_C1_20260105080000.jpg", numbered, 0, "gear_0001_OK"},
		{"small letters", "s17_c2.tif", numbered, 1, "s17"},
		{"two digits", "S17_C10.png", numbered, 3, "S17"},
		{"another word", "S17 cam_2.png", numbered, 1, "S17"},
		{"no camera", "S17.png", numbered, -1, "S17"},
		{"part of a word", "BC1.png", numbered, -1, "BC1"},
		{"a camera too many", "S17_C4.png", []string{"C1", "C2"}, -1, "S17_C4"},
		{"camera alone", "C2.png", numbered, 1, ""},
		{"a name", "S17_top.png", named, 0, "S17"},
		{"a longer name", "S17_top_left.png", named, 1, "S17"},
		{"a name with a space", "S17_Side 1.png", named, 2, "S17"},
	} {
		file, _ := json.Marshal(c.file)
		cameras, _ := json.Marshal(c.cameras)
		have := eval[[]any](b, fmt.Sprintf("upload.cameraOf(%s, %s)", file, cameras))
		if have[0] != float64(c.camera) || have[1] != c.part {
			t.Errorf("%s: %s: have %v, want [%d %s]", c.name, c.file, have, c.camera, c.part)
		}
	}
	folders := eval[string](b, `JSON.stringify(upload.group(["A/C1.png", "A/C2.png", "B/C1.png"].map(p => { const f = new File([], p.split("/")[1]); f.folder = "/" + p; return f; }),
		["C1", "C2"], false).parts.map(p => [p.name, p.files.length]))`)
	if folders != `[["A",2],["B",1]]` {
		t.Errorf("a folder for each part: have %s", folders)
	}
}

func TestDrop(t *testing.T) {
	b := openPage(t, newFake(t), "en", "#/inspect")
	b.Until("classes", "!!document.querySelector('#inspect-class option[value=gear]')")
	eval[bool](b, `(() => {
		const data = new DataTransfer(), zone = document.querySelector(".drop");
		data.items.add(new File([new Uint8Array(10)], "S1_C2.png", { type: "image/png" }));
		const event = new DragEvent("dragover", { dataTransfer: data, bubbles: true, cancelable: true });
		zone.dispatchEvent(event);
		window.over = event.defaultPrevented && zone.classList.contains("over");
		return zone.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
	})()`)
	b.Until("the file", says(".files", "S1_C2.png")+"&& document.getElementById('camera-0').value === '1' && over && !document.querySelector('.drop').classList.contains('over')")
	b.Until("no image to be shown where it cannot be read", "!!document.querySelector('.files .thumb.none')")
}
