package page

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// object is any JSON object.
type object = map[string]any

// fake answers what the page asks as the service does, from a few objects in memory.
type fake struct {
	*httptest.Server

	mu       sync.Mutex
	records  []object // oldest first
	history  []object // newest first
	teach    object   // the session, nil for none
	token    string   // "" for none
	streams  map[chan string]bool
	seen     []string          // METHOD path of everything asked for that is not the page's own
	why      map[string]object // codes of refused parts by name
	untested []object          // why classes are not tested, in their order
	unscored bool              // the first model does not have the scores of its calibration
	nameless bool              // the first class of the counts has no name
	down     bool              // every answer but the page is 503, and streams end
}

// at is the time of the newest object that a fake starts with.
var at = time.Now().Add(-time.Minute)

// newFake is a service with objects of two classes: five cameras and one of them absent, a defective one, one that
// failed, and a good one so near the threshold that it is to be reviewed.
func newFake(t *testing.T) *fake {
	f := &fake{streams: map[chan string]bool{}}
	for i := range 70 {
		f.records = append(f.records, f.record(i, 0.08+0.27*float64(i%7)/7, 5))
	}
	f.records[40] = f.record(40, 0.91, 5)
	f.records[62] = f.record(62, 0.44, 5)
	f.records[64] = f.record(64, 0.57, 5)
	f.records[66] = f.record(66, 0.12, 5)
	failed := f.record(67, 0.2, 5)
	delete(failed, "verdict")
	failed["decision"], failed["images"], failed["error"] = "failed", []object{}, "S0067_C1.png: have a file of no image"
	failed["absent"], failed["pictures"] = []string{"C2", "C3", "C4", "C5"}, false
	f.records[67] = failed
	f.records[68] = f.record(68, 0.21, 4)
	f.records[69] = f.record(69, 0.83, 5)
	mux := http.NewServeMux()
	mux.Handle("GET /", Handler())
	f.routes(mux)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") && !f.admits(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.Server.CloseClientConnections()
		f.Server.Close()
	})
	return f
}

// admits notes a request and refuses it where the service is down or wants its token.
func (f *fake) admits(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, r.Method+" "+r.URL.Path)
	c, err := r.Cookie("session")
	switch {
	case f.down:
		answer(w, http.StatusServiceUnavailable, object{"error": "the service is closing"})
	case f.token != "" && r.URL.Path != "/v1/session" && (err != nil || c.Value != f.token):
		answer(w, http.StatusUnauthorized, object{"error": "want the token"})
	default:
		return true
	}
	return false
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// record is an object judged with a calibrated value by so many cameras. From 0.5 on it is defective.
func (f *fake) record(n int, value float64, cameras int) object {
	class := "gear"
	if n%3 == 1 {
		class = "housing"
	}
	r := object{
		"id": fmt.Sprintf("3f2a9c1e-%d", n+1), "time": at.Add(time.Duration(n-69) * 40 * time.Second), "source": "folder",
		"object": fmt.Sprintf("S%04d", n+1), "class": class, "decision": decision(value), "verdict": verdict(value, 0.0213),
		"model":    object{"name": "parts", "checkpoint": strings.Repeat("a1", 32), "calibration": strings.Repeat("b2", 32)},
		"pictures": true,
	}
	var images []object
	for c := range cameras {
		v := value * (0.35 + 0.13*float64((c+n)%5))
		if c == n%cameras {
			v = value
		}
		line := verdict(v, 0.0198)
		maps.Copy(line, object{"object": r["object"], "class": class, "camera": c + 1, "path": fmt.Sprintf("S%04d_C%d.png", n+1, c+1), "regions": []object{}})
		if v >= 0.5 {
			line["regions"] = []object{{"box": []int{120, 60, 168, 104}, "area": 1410, "peak": 0.97}}
		}
		images = append(images, line)
	}
	r["images"] = images
	if cameras < 5 {
		r["absent"] = []string{"C5"}
	}
	return r
}

func decision(value float64) string {
	if value >= 0.5 {
		return "defective"
	}
	return "good"
}

func verdict(value, threshold float64) object {
	return object{"score": threshold * (0.5 + value), "calibrated": value, "threshold": threshold, "basis": "class", "decision": decision(value), "head": "both"}
}

// find returns a record, nil where there is none.
func (f *fake) find(id string) object {
	i := slices.IndexFunc(f.records, func(r object) bool { return r["id"] == id })
	if i < 0 {
		return nil
	}
	return f.records[i]
}

// tell sends an event to all streams.
func (f *fake) tell(kind string, data any) {
	text, _ := json.Marshal(data)
	for s := range f.streams {
		s <- fmt.Sprintf("event: %s\ndata: %s\n\n", kind, text)
	}
}

// arrives adds an object as a line would, and tells of it.
func (f *fake) arrives(value float64) object {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.record(len(f.records), value, 5)
	r["time"] = time.Now()
	f.records = append(f.records, r)
	f.tell("object", r)
	return r
}

// goDown ends all streams and refuses everything until it is over.
func (f *fake) goDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	if down {
		for s := range f.streams {
			close(s)
			delete(f.streams, s)
		}
	}
}

// routes answers with what stands in memory, one request after the other.
func (f *fake) routes(mux *http.ServeMux) {
	handle := func(pattern string, do func(w http.ResponseWriter, r *http.Request) (int, any)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			status, value := do(w, r)
			f.mu.Unlock()
			answer(w, status, value)
		})
	}
	mux.HandleFunc("GET /v1/events", f.events)
	mux.HandleFunc("GET /v1/objects/{id}/images/{camera}/{layer}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		o := f.find(r.PathValue("id"))
		f.mu.Unlock()
		camera, _ := strconv.Atoi(r.PathValue("camera"))
		if o == nil || o["pictures"] != true {
			http.NotFound(w, r)
			return
		}
		bad := o["decision"] == "defective"
		w.Header().Set("Content-Type", "image/png")
		png.Encode(w, part(o["class"].(string), camera, bad, r.PathValue("layer") == "overlay.png", 1))
	})
	handle("POST /v1/session", func(w http.ResponseWriter, r *http.Request) (int, any) {
		var body struct{ Token string }
		json.NewDecoder(r.Body).Decode(&body)
		if body.Token != f.token {
			return 401, object{"error": "this is not the token"}
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: f.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		return 200, object{}
	})
	handle("GET /v1/models", func(http.ResponseWriter, *http.Request) (int, any) {
		list := slices.Clone(models)
		list[0] = maps.Clone(list[0])
		list[0]["samples"] = !f.unscored
		return 200, object{"models": list}
	})
	handle("GET /v1/objects", f.objects)
	handle("GET /v1/objects/{id}", func(_ http.ResponseWriter, r *http.Request) (int, any) {
		if o := f.find(r.PathValue("id")); o != nil {
			return 200, o
		}
		return 404, object{"error": fmt.Sprintf("object: have %q, want one of the journal", r.PathValue("id"))}
	})
	handle("GET /v1/summary", f.summary)
	f.more(handle)
}

// models are what the fake judges with.
var models = []object{
	{"name": "parts", "views": 5, "cameras": []string{"C1", "C2", "C3", "C4", "C5"}, "head": "both", "bytes": 14_200_000, "memory_bytes": 3_100_000,
		"classes": []object{{"name": "gear", "head": "both", "basis": "class", "threshold": 0.0213, "rate": 0.01, "objects": 120},
			{"name": "housing", "head": "memory", "basis": "class", "threshold": 0.0304, "rate": 0.0625, "objects": 15}}},
	{"name": "labels", "views": 1, "cameras": []string{"top"}, "head": "memory", "bytes": 9_000_000, "memory_bytes": 1_000_000,
		"classes": []object{{"name": "", "head": "memory", "basis": "pooled", "threshold": 0.02, "rate": 0.02, "objects": 50}}},
}

func (f *fake) objects(_ http.ResponseWriter, r *http.Request) (int, any) {
	q := r.URL.Query()
	limit, err := strconv.Atoi(cmp.Or(q.Get("limit"), "50"))
	if err != nil {
		return 400, object{"error": "limit: " + err.Error()}
	}
	found, before := []object{}, q.Get("before") == ""
	for _, o := range slices.Backward(f.records) {
		switch {
		case !before:
			before = o["id"] == q.Get("before")
		case q.Get("class") != "" && o["class"] != q.Get("class"), q.Get("decision") != "" && o["decision"] != q.Get("decision"),
			q.Get("model") != "" && o["model"].(object)["name"] != q.Get("model"):
		case len(found) == limit:
			return 200, object{"objects": found, "next": found[limit-1]["id"]}
		default:
			found = append(found, o)
		}
	}
	return 200, object{"objects": found, "next": ""}
}

func (f *fake) summary(http.ResponseWriter, *http.Request) (int, any) {
	rows := []object{}
	for i, class := range []string{"gear", "housing"} {
		n := map[any]int{}
		for _, o := range f.records {
			if o["class"] == class {
				n[o["decision"]]++
			}
		}
		name := class
		if f.nameless && i == 0 {
			name = ""
		}
		rows = append(rows, object{"model": "parts", "class": name, "good": n["good"], "defective": n["defective"], "failed": n["failed"],
			"yield": float64(n["good"]) / float64(n["good"]+n["defective"]), "rate": []float64{0.01, 0.0625}[i], "alarms": [][]int{{0, 3}, {0, 5}}[i]})
	}
	return 200, object{"hours": 24, "rows": rows}
}

// events is a stream that lasts until the service is down or the browser leaves.
func (f *fake) events(w http.ResponseWriter, r *http.Request) {
	stream := make(chan string, 100)
	f.mu.Lock()
	f.streams[stream] = true
	f.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": hello\n\n")
	w.(http.Flusher).Flush()
	for {
		select {
		case text, ok := <-stream:
			if !ok {
				return
			}
			fmt.Fprint(w, text)
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			f.mu.Lock()
			delete(f.streams, stream)
			f.mu.Unlock()
			return
		}
	}
}

// pngOf is a drawn image as a file.
func pngOf(class string, camera int, bad bool, light float64) []byte {
	var b bytes.Buffer
	png.Encode(&b, part(class, camera, bad, false, light))
	return b.Bytes()
}
