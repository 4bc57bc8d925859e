package page

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

type handler = func(pattern string, do func(w http.ResponseWriter, r *http.Request) (int, any))

// more answers what changes something: inspect, teach and review, and drift.
func (f *fake) more(handle handler) {
	handle("POST /v1/inspect", func(_ http.ResponseWriter, r *http.Request) (int, any) {
		record, err := f.judged(r)
		if err != nil {
			return 400, object{"error": err.Error()}
		}
		f.records = append(f.records, record)
		f.tell("object", record)
		return 200, record
	})
	handle("GET /v1/drift", func(_ http.ResponseWriter, r *http.Request) (int, any) {
		answer := drift(r.URL.Query().Get("model"))
		for i, c := range answer["classes"].([]object) {
			if i < len(f.untested) {
				c["windows"] = []object{}
				maps.Copy(c, f.untested[i])
			}
		}
		return 200, answer
	})
	f.teaches(handle)
	f.reviews(handle)
}

// judged is the record of the images of a form. An image whose name has "bad" in it is defective.
func (f *fake) judged(r *http.Request) (object, error) {
	if err := r.ParseMultipartForm(64 << 20); err != nil {
		return nil, err
	}
	for name := range r.MultipartForm.Value {
		if !slices.Contains([]string{"object", "class", "model"}, name) {
			return nil, fmt.Errorf("part %q: have no such camera", name)
		}
	}
	value := 0.18
	var cameras []string
	for name, files := range r.MultipartForm.File {
		cameras = append(cameras, name)
		if strings.Contains(files[0].Filename, "bad") {
			value = 0.88
		}
	}
	slices.Sort(cameras)
	record := f.record(len(f.records), value, len(cameras))
	record["time"], record["source"], record["object"] = time.Now(), "page", r.FormValue("object")
	if class := r.FormValue("class"); class != "" {
		record["class"] = class
	}
	var absent []string
	for _, c := range []string{"C1", "C2", "C3", "C4", "C5"} {
		if !slices.Contains(cameras, c) {
			absent = append(absent, c)
		}
	}
	for i, line := range record["images"].([]object) {
		if n := strings.TrimPrefix(cameras[i], "C"); n != cameras[i] {
			line["camera"] = int(n[0] - '0')
		} else {
			delete(line, "camera")
		}
	}
	record["absent"] = absent
	return record, nil
}

// teaches has one session. A part whose name has "blur" in it is refused.
func (f *fake) teaches(handle handler) {
	session := func(do func(r *http.Request) (int, any)) func(http.ResponseWriter, *http.Request) (int, any) {
		return func(_ http.ResponseWriter, r *http.Request) (int, any) {
			if f.teach == nil || f.teach["id"] != r.PathValue("id") {
				return 404, object{"error": "have no such session"}
			}
			return do(r)
		}
	}
	handle("GET /v1/teach", func(http.ResponseWriter, *http.Request) (int, any) {
		sessions := []object{}
		if f.teach != nil {
			sessions = append(sessions, f.teach)
		}
		return 200, object{"sessions": sessions}
	})
	handle("POST /v1/teach", func(_ http.ResponseWriter, r *http.Request) (int, any) {
		var body struct {
			Model, Class string
			Replace      bool
		}
		json.NewDecoder(r.Body).Decode(&body)
		if body.Class == "gear" && !body.Replace {
			return 409, object{"error": `teach: model "parts" knows a class "gear" already, want replace to forget its parts`, "code": "class_known"}
		}
		f.teach = object{"id": "7c11d0aa", "model": body.Model, "class": body.Class, "replace": body.Replace, "state": "collecting", "objects": []object{}, "need": 10}
		return 200, object{"id": f.teach["id"]}
	})
	handle("GET /v1/teach/{id}", session(func(*http.Request) (int, any) { return 200, f.teach }))
	handle("POST /v1/teach/{id}/objects", session(func(r *http.Request) (int, any) {
		record, err := f.judged(r)
		if err != nil {
			return 400, object{"error": err.Error()}
		}
		var cameras []string
		for _, line := range record["images"].([]object) {
			cameras = append(cameras, fmt.Sprint("C", line["camera"]))
		}
		o := object{"object": record["object"], "cameras": cameras, "accepted": true, "reason": ""}
		if strings.Contains(record["object"].(string), "blur") {
			o["accepted"], o["reason"] = false, "C2: have 40 x 40 pixels, want at least 112 x 112"
			if c, ok := f.why[record["object"].(string)]; ok {
				maps.Copy(o, c)
			}
		}
		f.teach["objects"] = append(f.teach["objects"].([]object), o)
		return 200, o
	}))
	handle("DELETE /v1/teach/{id}/objects/{object}", session(func(r *http.Request) (int, any) {
		f.teach["objects"] = slices.DeleteFunc(f.teach["objects"].([]object), func(o object) bool { return o["object"] == r.PathValue("object") })
		return 200, object{}
	}))
	handle("POST /v1/teach/{id}/build", session(func(*http.Request) (int, any) {
		f.teach["state"], f.teach["step"], f.teach["done"], f.teach["total"] = "building", "remembering", 24, 60
		return 202, object{}
	}))
	handle("POST /v1/teach/{id}/try", session(func(r *http.Request) (int, any) {
		record, err := f.judged(r)
		if err != nil {
			return 400, object{"error": err.Error()}
		}
		record["pictures"] = false
		return 200, record
	}))
	handle("POST /v1/teach/{id}/live", session(func(*http.Request) (int, any) {
		f.teach["state"] = "live"
		return 200, f.teach
	}))
	handle("DELETE /v1/teach/{id}", session(func(*http.Request) (int, any) {
		f.teach = nil
		return 200, object{}
	}))
}

// taught lets the session become something, and tells of it.
func (f *fake) taught(change object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, v := range change {
		f.teach[k] = v
	}
	f.tell("teach", f.teach)
}

// ready is what a session has once its memory is built.
var ready = object{"state": "ready", "result": object{"objects": 12, "threshold": 0.0247, "rate": 1. / 13, "basis": "class", "memory_bytes": 1_230_000}}

// reviews lets objects between 0.35 and 0.65 be decided, those whose heads are told, and defective ones. What was good after all raises a threshold by 4 %.
func (f *fake) reviews(handle handler) {
	handle("GET /v1/review", func(_ http.ResponseWriter, r *http.Request) (int, any) {
		found, alarms := []object{}, []object{}
		for _, o := range slices.Backward(f.records) {
			v, judged := o["verdict"].(object)
			if model := r.URL.Query().Get("model"); model != "" && model != "parts" || !judged || o["review"] != nil {
				continue
			}
			c := maps.Clone(o)
			switch value := v["calibrated"].(float64); {
			case value > 0.35 && value < 0.65:
				c["why"] = "borderline"
				found = append(found, c)
			case o["heads"] != nil:
				c["why"] = "contested"
				found = append(found, c)
			case o["decision"] == "defective":
				c["why"] = "defective"
				alarms = append(alarms, c)
			}
		}
		return 200, object{"objects": append(found, alarms...)}
	})
	handle("POST /v1/objects/{id}/review", func(_ http.ResponseWriter, r *http.Request) (int, any) {
		var body struct{ Verdict, Note string }
		json.NewDecoder(r.Body).Decode(&body)
		o := f.find(r.PathValue("id"))
		if f.unscored && body.Verdict == "good" {
			return 409, object{"error": "model \"parts\": parts.mvag: does not have the scores", "code": "no_samples"}
		}
		o["review"] = object{"verdict": body.Verdict, "note": body.Note, "time": time.Now()}
		result := object{"review": o["review"]}
		if body.Verdict == "good" {
			n := 120 + len(f.history)
			change := object{"class": o["class"], "before": scale(n), "after": scale(n + 1), "changed": 1, "searched": 47}
			result["calibration"] = change
			f.history = slices.Insert(f.history, 0, object{"time": time.Now(), "id": o["id"], "object": o["object"], "class": o["class"], "verdict": "good",
				"note": body.Note, "before": change["before"], "after": change["after"], "undone": false})
		}
		return 200, result
	})
	handle("GET /v1/calibration", func(http.ResponseWriter, *http.Request) (int, any) {
		return 200, object{"history": append([]object{}, f.history...)}
	})
	handle("POST /v1/calibration/undo", func(http.ResponseWriter, *http.Request) (int, any) {
		i := slices.IndexFunc(f.history, func(e object) bool { return e["undone"] == false })
		if i < 0 {
			return 409, object{"error": "have nothing to undo"}
		}
		f.history[i]["undone"] = true
		delete(f.find(f.history[i]["id"].(string)), "review")
		return 200, object{}
	})
}

func scale(objects int) object {
	return object{"threshold": 0.0213 * math.Pow(1.04, float64(objects-120)), "rate": 1 / float64(objects+1), "objects": objects}
}

// drift has two classes: the first gets another light in its last third, of the second there is little.
func drift(model string) object {
	test := object{"name": "Mann-Whitney U test", "window": 25, "false_alarm": 0.001,
		"statement": "Each window of 25 good objects is compared with the scores of the calibration by a one-sided test of level 0.001; windows do not overlap."}
	if model == "labels" {
		return object{"test": test, "classes": []object{}}
	}
	calibration, points, windows := []float64{}, []object{}, []object{}
	for i := range 60 {
		calibration = append(calibration, 0.009*math.Exp(0.28*math.Sin(float64(i)*1.7)+0.1*math.Cos(float64(i*i))))
	}
	start := at.Add(-5 * time.Hour)
	for i := range 150 {
		score, when := 0.009*math.Exp(0.28*math.Sin(float64(i)*2.3)+0.12*math.Cos(float64(i*i))), start.Add(time.Duration(i)*2*time.Minute)
		if i >= 100 {
			score *= 1.5
		}
		p := object{"id": fmt.Sprintf("3f2a9c1e-%d", i), "time": when, "score": score, "decision": "good"}
		if i%37 == 20 {
			p["score"], p["decision"] = 0.031+0.0001*float64(i), "defective"
		}
		points = append(points, p)
		if i%25 == 24 {
			windows = append(windows, object{"from": when.Add(-48 * time.Minute), "to": when, "objects": 25, "p": []float64{0.41, 0.72, 0.18, 0.093, 0.00002, 0.000004}[i/25], "drift": i >= 100, "higher": i >= 100})
		}
	}
	few := []object{}
	for i := range 9 {
		few = append(few, object{"id": fmt.Sprint("3f2a9c1e-", i), "time": start.Add(time.Duration(i) * 9 * time.Minute), "score": 0.012 + 0.001*float64(i%4), "decision": "good"})
	}
	return object{"test": test, "classes": []object{
		{"class": "gear", "calibration": calibration, "threshold": 0.0213, "windows": windows, "points": points, "waiting": 0},
		{"class": "housing", "calibration": calibration[:15], "threshold": 0.0304, "windows": []object{}, "points": few, "waiting": 9},
	}}
}
