package line

import (
	"fmt"
	"strings"
	"time"

	"mvag-torch/inspect"
)

// What becomes of an object without an image of every camera of the model.
const (
	IncompleteJudge = "judge" // the images that there are decide
	IncompleteFail  = "fail"  // it is Failed, unless those that there are show a defect
)

// recordOf is what the service says of a result. An image that cannot be judged leaves no good object: what it would have
// shown is not known. A defect that another image shows stays one.
func (l *Line) recordOf(r Request, live *live, result *inspect.Result) Record {
	o := result.Object
	out := Record{
		Time: time.Now().UTC(), Source: r.Source, Object: o.ID, Class: o.Class, Verdict: result.Verdict,
		Images: result.Lines(), Model: live.judge, Decision: Failed,
	}
	present := 0
	for j, v := range o.Views {
		if v.Present() {
			present++
		} else if len(o.Views) > 1 {
			out.Absent = append(out.Absent, live.model.Cameras[j])
		}
	}
	faults := faultsOf(out.Images, live.model.Cameras)
	switch {
	case present == 0:
		faults = append(faults, "have no image")
	case l.opt.Incomplete == IncompleteFail && len(out.Absent) > 0:
		faults = append(faults, fmt.Sprintf("have no image of camera %s, want one of each (incomplete: %s)", quoted(out.Absent), IncompleteFail))
	case l.opt.Incomplete == IncompleteFail && present < live.model.Views:
		faults = append(faults, fmt.Sprintf("have a single image of no camera, want one of each of %s (incomplete: %s)",
			quoted(live.model.Cameras), IncompleteFail))
	}
	if v := result.Verdict; v != nil && (len(faults) == 0 || v.Decision == inspect.Defective) {
		out.Decision = v.Decision
		return out
	}
	out.Error = strings.Join(faults, "; ")
	return out
}

// faultsOf says why images could not be judged, with their cameras.
func faultsOf(images []inspect.Line, cameras []string) (faults []string) {
	for _, line := range images {
		switch {
		case line.Verdict != nil:
		case line.Camera > 0:
			faults = append(faults, fmt.Sprintf("camera %q: %s", cameras[line.Camera-1], line.Error))
		default:
			faults = append(faults, line.Error)
		}
	}
	return faults
}

func quoted(names []string) string {
	var list []string
	for _, name := range names {
		list = append(list, fmt.Sprintf("%q", name))
	}
	return strings.Join(list, ", ")
}

// warn says which images of an object could not be judged, and which it did not have.
func (l *Line) warn(r Record, cameras []string) {
	log := l.opt.Log.With("object", r.Object, "id", r.ID, "model", r.Model.Name, "decision", r.Decision)
	if faults := faultsOf(r.Images, cameras); len(faults) > 0 {
		log.Warn("object with images that cannot be judged", "images", faults)
	}
	if len(r.Absent) > 0 {
		log.Warn("object without an image of every camera", "absent", r.Absent)
	}
}
