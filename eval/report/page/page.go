// Package page writes the report of a run: one HTML file that needs no network (docs/report.md). Parts whose files are
// missing in the run folder are left out, and the report says how to get them.
package page

import (
	_ "embed" // the page's parts
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"strings"

	"mvag-torch/configs"
	"mvag-torch/dataset"
	"mvag-torch/internal/atomicfile"
)

var (
	//go:embed page.html
	markup string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

var layout = template.Must(template.New("page").Parse(markup))

// view is the input of the template.
type view struct {
	Style            template.CSS
	Script           template.JS
	Version          string
	Name             string
	Facts            []fact   // about the run, below its name
	Notices          []string // warnings above everything else
	Evaluate         string   // the command that evaluates, if nobody has
	Headline         []tile
	Decisions        *decisions
	Classes          *table
	Groups           []group // curves of the classes
	Cameras, Defects *table
	Walls            []wall // of the gallery
	Training         []figure
	LeftOut          []step // of the training
	Other            *table // values by the rules of other programs
	Protocol         []fact
	Config           string
	Terms            []fact
	Heated           bool // the colours of the gallery have the threshold in the middle
}

// fact is a name with its value.
type fact struct{ Name, Value string }

// Write writes the report of a run folder to path; the file appears whole or not at all. Model is the checkpoint whose
// thresholds and configuration are shown, "" for that of the folder if there is one. Note says what the decisions are
// by where predict judges by something else, else it is "". Errors name the file at fault.
func Write(path, folder, model, version string) (note string, err error) {
	r, err := read(folder, model)
	if err != nil {
		return "", err
	}
	v, err := r.view(folder)
	if err != nil {
		return "", err
	}
	v.Version = version
	if v.Decisions != nil {
		note = v.Decisions.Note
	}
	return note, atomicfile.Write(path, func(w io.Writer) error { return layout.Execute(w, v) })
}

// view gathers everything that there is to show.
func (r *run) view(folder string) (*view, error) {
	v := &view{Style: template.CSS(style), Script: template.JS(script), Name: filepath.Base(filepath.Clean(folder))}
	if r.config != nil {
		v.Name = r.config.Name
		text, err := configs.Marshal(*r.config)
		if err != nil {
			return nil, err
		}
		v.Config = string(text)
	}
	v.Facts = r.facts()
	var err error
	v.LeftOut = r.leftOut
	if v.Training, err = r.training(); err != nil {
		return nil, err
	}
	v.Decisions = r.decide()
	if r.results == nil {
		v.Evaluate = "mvag-torch eval -m " + filepath.Join(folder, "checkpoint.safetensors")
		return v, nil
	}
	if v.Protocol, err = r.protocol(); err != nil {
		return nil, err
	}
	v.Notices = r.notices()
	v.Headline, v.Terms = r.headline(), terms
	v.Classes, v.Other = r.classTable(), r.otherTable()
	v.Cameras, v.Defects = r.cameraTable(), r.defectTable()
	if v.Groups, err = r.groups(); err != nil {
		return nil, err
	}
	v.Walls, v.Heated = r.walls(), len(r.exhibits) > 0 && r.exhibits[0].Calibrated
	return v, nil
}

// fits say, for each data.fit, what becomes of images.
var fits = map[string]string{
	dataset.Squash: "resized to %v, cropped to %v pixels",
	dataset.Pad:    "scaled to fit within %v, cropped to %v pixels",
	dataset.Tiles:  "scaled to fit within %v, in tiles of %v pixels",
}

// facts returns the line below the title.
func (r *run) facts() []fact {
	var out []fact
	if r.config != nil {
		iterations := fmt.Sprint(r.config.Train.Iterations)
		if r.iteration >= 0 && r.iteration != r.config.Train.Iterations {
			iterations = fmt.Sprintf("%d of %d", r.iteration, r.config.Train.Iterations)
		}
		out = append(out, fact{"iterations", iterations}, fact{"backbone", r.config.Backbone.Name},
			fact{"images", fmt.Sprintf(fits[r.config.Data.Fit], r.config.Data.Resize, r.config.Data.Crop)})
	}
	if r.results == nil {
		return out
	}
	images, defective, objects := 0, 0, 0
	for _, c := range r.results.Classes {
		images, defective, objects = images+c.Images, defective+c.Defective, objects+c.Objects
	}
	return append(out, fact{"evaluated on", fmt.Sprintf("%d images (%d defective) of %d objects, %s",
		images, defective, objects, plural(len(r.results.Classes), "class", "classes"))})
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// notices returns warnings: what makes the values less than they seem, and which files are missing.
func (r *run) notices() []string {
	var out []string
	if at := r.evaluated(); at >= 0 && r.iteration >= 0 && at != r.iteration {
		out = append(out, fmt.Sprintf("The results are of iteration %d, the checkpoint is of iteration %d: evaluate again.", at, r.iteration))
	}
	if r.changed != nil {
		out = append(out, fmt.Sprintf("The results are of other settings than the model was trained with (%s): its thresholds do not apply, and decisions are left out.",
			strings.Join(r.changed, "; ")))
	}
	if excluded := r.results.Excluded(); len(excluded) > 0 {
		out = append(out, fmt.Sprintf("Some values are not defined in %s (n/a); means leave them out.", plural(len(excluded), "class", "classes")))
	}
	if unknown := r.results.Unknown; len(unknown) > 0 {
		out = append(out, fmt.Sprintf("The results have values that this version does not know and does not show: %s.", strings.Join(unknown, ", ")))
	}
	for _, missing := range []struct {
		name    string
		missing bool
		what    string
	}{
		{"objects.jsonl and scores.jsonl", r.objects == nil || r.images == nil, "decisions, curves of objects and images, and histograms"},
		{"curves.jsonl", len(r.curves) == 0, "the curves of pixels"},
		{"gallery.jsonl", r.exhibits == nil, "the gallery"},
	} {
		if missing.missing {
			out = append(out, fmt.Sprintf("The folder has no %s, so %s are missing; another evaluation writes it.", missing.name, missing.what))
		}
	}
	return out
}
