package demo

import (
	"fmt"
	"path"
	"time"
)

// Folders below Options.Out, for data.index and data.images of a configuration.
const (
	IndexFolder = "realiad_jsons"
	ImageFolder = "realiad_demo"
)

// index is Real-IAD's description of one class.
type index struct {
	Meta  meta    `json:"meta"`
	Train []entry `json:"train"`
	Test  []entry `json:"test"`
}

type meta struct {
	Prefix       string `json:"prefix"`
	NormalClass  string `json:"normal_class"`
	PreTransform bool   `json:"pre_transform"`
}

// entry is one image. Paths are relative to the image folder plus prefix.
type entry struct {
	Category     string  `json:"category"`
	AnomalyClass string  `json:"anomaly_class"`
	ImagePath    string  `json:"image_path"`
	MaskPath     *string `json:"mask_path"` // null exactly where the class is OK
}

const normal, defective = "OK", "NG"

// job is one object to render.
type job struct {
	class *class
	code  string // "" for a sound object
	train bool
	serno int // index in its folder, from 1
	shot  time.Time
}

// folder is the folder of the object, relative to that of its class.
func (j *job) folder() string {
	if j.code == "" {
		return fmt.Sprintf("%s/S%04d", normal, j.serno)
	}
	return fmt.Sprintf("%s/%s/S%04d", defective, j.code, j.serno)
}

// file is the path of an image or mask, relative to the folder of its class.
func (j *job) file(view int, ext string) string {
	state := normal
	if j.code != "" {
		state = defective + "_" + j.code
	}
	name := fmt.Sprintf("%s_%04d_%s_C%d_%s%s",
		j.class.name, j.serno, state, view+1, j.shot.Format("20060102150405"), ext)
	return path.Join(j.folder(), name)
}

// entry describes a view; masked says whether it shows the defect.
func (j *job) entry(view int, masked bool) entry {
	e := entry{Category: j.class.name, AnomalyClass: normal, ImagePath: j.file(view, ".jpg")}
	if masked {
		name := j.file(view, ".png")
		e.AnomalyClass, e.MaskPath = j.code, &name
	}
	return e
}

// plan lists the objects of a set in the order of the index files: by class, then sound ones for training, sound ones
// for testing, defective ones by code.
func plan(opt Options) []job {
	var jobs []job
	shot := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	add := func(c *class, code string, train bool, serno int) {
		jobs = append(jobs, job{class: c, code: code, train: train, serno: serno, shot: shot})
		shot = shot.Add(31 * time.Second)
	}
	for _, c := range opt.classes() {
		for n := range opt.Train + opt.Good {
			add(c, "", n < opt.Train, n+1)
		}
		for k, code := range c.codes {
			count := opt.Bad / len(c.codes)
			if k < opt.Bad%len(c.codes) {
				count++
			}
			for n := range count {
				add(c, code, false, n+1)
			}
		}
	}
	return jobs
}
