package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/serve/line"
	"mvag-torch/serve/metrics"
)

// The Open Inference Protocol, version 2, with the binary tensor data extension:
// https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and
// https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

// described is a tensor in the metadata of a model. -1 is any size.
type described struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"`
}

// inputs are what a model of so many views takes: n objects, either pixels of one size or encoded files.
func inputs(views int) []described {
	return []described{
		{"images", "UINT8", []int{-1, views, -1, -1, 3}}, // red, green, blue
		{"files", "BYTES", []int{-1, views}},             // JPEG, PNG and so on; empty where a camera has no image
		{"present", "BOOL", []int{-1, views}},            // of images; all are where it is left out
		{"class", "BYTES", []int{-1}},
		{"object", "BYTES", []int{-1}},
	}
}

// outputs are what a model gives. -1 in score, calibrated, object_score, object_calibrated and map says that there is
// none: an absent image or one that could not be judged, and an object whose decision is failed.
func outputs(views int) []described {
	return []described{
		{"object_score", "FP32", []int{-1}},
		{"object_calibrated", "FP32", []int{-1}},
		{"object_defective", "BOOL", []int{-1}},
		{"decision", "BYTES", []int{-1}},
		{"score", "FP32", []int{-1, views}},
		{"calibrated", "FP32", []int{-1, views}},
		{"defective", "BOOL", []int{-1, views}},
		{"record", "BYTES", []int{-1}},
		{mapOutput, "FP32", []int{-1, views, -1, -1}},
	}
}

// mapOutput is the output that is only given where it is asked for.
const mapOutput = "map"

// serverMetadata answers GET /v2.
func (a *API) serverMetadata(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"name": "mvag-torch", "version": a.opt.Version, "extensions": []string{"binary_tensor_data"},
	})
}

// modelMetadata answers GET /v2/models/{model}.
func (a *API) modelMetadata(w http.ResponseWriter, r *http.Request) error {
	m, err := a.model(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"name": m.Name, "platform": "mvag_torch", "inputs": inputs(m.Views), "outputs": outputs(m.Views),
	})
}

// modelReady answers GET /v2/models/{model}/ready.
func (a *API) modelReady(w http.ResponseWriter, r *http.Request) error {
	m, err := a.model(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"name": m.Name, "ready": true})
}

// infer answers POST /v2/models/{model}/infer.
func (a *API) infer(w http.ResponseWriter, r *http.Request) error {
	m, err := a.model(r)
	if err != nil {
		return err
	}
	key, err := a.key(r)
	if err != nil {
		return err
	}
	asked, err := a.readInference(w, r)
	if err != nil {
		return err
	}
	wanted, err := asked.wanted(m)
	if err != nil {
		return err
	}
	objects, err := a.objectsOf(asked, m)
	if err != nil {
		return err
	}
	if err := a.fits(wanted, m, len(objects), asked.source().shape[1]); err != nil {
		return err
	}
	requests := make([]line.Request, len(objects))
	for i, o := range objects {
		requests[i] = line.Request{Model: m.Name, Source: line.FromInfer, Object: o}
		if key != "" {
			requests[i].Key = fmt.Sprintf("%s#%d", key, i)
		}
	}
	judged, err := a.judgeAll(r.Context(), requests)
	if err != nil {
		return err
	}
	return respond(w, asked, m, judged, wanted)
}

// fits refuses maps that would take more memory than a quarter of what all bodies may, before anything is judged. A map has
// at most as many pixels as the model sees.
func (a *API) fits(wanted []wish, m line.Model, n, views int) error {
	for _, x := range wanted {
		size := int64(4) // of a value
		if !x.binary {
			size = 12
		}
		if have, most := size*int64(n)*int64(views)*int64(m.Width)*int64(m.Height), a.opt.Bodies/4; x.Name == mapOutput && have > most {
			return &fault{status: http.StatusRequestEntityTooLarge, reason: metrics.Limit,
				message: fmt.Sprintf("map: have %d objects, whose maps may take %d bytes, want fewer for at most %d", n, have, most)}
		}
	}
	return nil
}

// judgeAll judges objects at the same time. Where the queue is full, it waits and tries those again that found no
// place, as long as others did: all or none of a request that is refused would otherwise be judged a second time.
func (a *API) judgeAll(ctx context.Context, requests []line.Request) ([]*line.Judged, error) {
	judged, faults := make([]*line.Judged, len(requests)), make([]error, len(requests))
	for done := 0; ; {
		var all sync.WaitGroup
		for i := range requests {
			if judged[i] == nil {
				all.Go(func() { judged[i], faults[i] = a.line.Judge(ctx, requests[i]) })
			}
		}
		all.Wait()
		var busy *line.BusyError
		was := done
		done = 0
		for i, err := range faults {
			var full *line.BusyError
			switch {
			case judged[i] != nil:
				done++
			case errors.As(err, &full):
				busy = full
			default:
				return nil, err
			}
		}
		if busy == nil {
			return judged, nil
		}
		if done == 0 {
			return nil, busy
		}
		pause := 20 * time.Millisecond
		if done == was {
			pause = min(busy.RetryAfter, time.Second)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// objectsOf returns the objects of a request, with views as the model numbers its cameras.
func (a *API) objectsOf(asked *inference, m line.Model) ([]dataset.Object, error) {
	if err := asked.checkInputs(); err != nil {
		return nil, err
	}
	source := asked.source()
	n, views := source.shape[0], source.shape[1]
	switch {
	case n < 1 || n > a.opt.Objects:
		return nil, wrong("%s: have %d objects, want 1 to %d", source.name, n, a.opt.Objects)
	case views != m.Views && views != 1:
		return nil, wrong("%s: have %d views, want %d as the model, or 1", source.name, views, m.Views)
	}
	classes, err := a.names(asked, "class", n)
	if err != nil {
		return nil, err
	}
	ids, err := a.names(asked, "object", n)
	if err != nil {
		return nil, err
	}
	present := asked.tensors["present"]
	if present != nil && (source.name != "images" || !slices.Equal(present.shape, []int{n, views})) {
		return nil, wrong("present: have shape %v, want [%d %d] beside images", present.shape, n, views)
	}
	objects := make([]dataset.Object, n)
	for i := range objects {
		o := dataset.Object{ID: ids[i], Class: classes[i], Views: make([]dataset.View, views)}
		for j := range o.Views {
			o.Views[j].Camera = j
			at := i*views + j
			if present != nil && present.data[at] == 0 || source.name == "files" && len(source.elements[at]) == 0 {
				continue
			}
			o.Views[j].Path = fmt.Sprintf("%s[%d,%d]", source.name, i, j)
			o.Views[j].Data = source.image(at)
		}
		objects[i] = o
	}
	return objects, nil
}

// names are the n elements of an optional input: one for each object, or one for all.
func (a *API) names(asked *inference, called string, n int) ([]string, error) {
	t, out := asked.tensors[called], make([]string, n)
	text, set := asked.Parameters[called].(string)
	switch {
	case t == nil && set:
		t = &input{elements: [][]byte{[]byte(text)}}
	case t == nil:
		return out, nil
	case !slices.Equal(t.shape, []int{n}) && !slices.Equal(t.shape, []int{1}):
		return nil, wrong("%s: have shape %v, want [%d]", called, t.shape, n)
	}
	for i := range out {
		name, err := a.name(called, string(t.elements[i%len(t.elements)]))
		if err != nil {
			return nil, err
		}
		out[i] = name
	}
	return out, nil
}
