package line

import (
	"fmt"
	"time"

	"mvag-torch/dataset"
	"mvag-torch/inspect"
	"mvag-torch/model/calibration"
)

// The sources of objects.
const (
	FromHTTP   = "http"
	FromInfer  = "infer" // the Open Inference Protocol
	FromFolder = "folder"
	FromMQTT   = "mqtt"
	FromPage   = "page"
)

// Failed is the decision of an object of which an image could not be judged and no other one shows a defect, or that has
// no image. The others are those of package inspect.
const Failed = "failed"

// Request is an object to be judged.
type Request struct {
	// Model is the name of a model. "" is the only one, or the one that knows the class of the object.
	Model  string
	Source string // FromHTTP and so on
	// Key names the request, "" for none: a second one of that name gets what the first was told, and is not judged. One of
	// other content is a *ConflictError. Keys of FromFolder and FromMQTT are made of the content.
	Key    string
	Object dataset.Object
}

// Record is what the service says of one object: in answers, the journal, files, messages and events alike
// (docs/serve.md).
type Record struct {
	ID       string           `json:"id"` // of the journal
	Time     time.Time        `json:"time"`
	Source   string           `json:"source"`
	Object   string           `json:"object"`
	Class    string           `json:"class,omitempty"`
	Decision string           `json:"decision"`          // inspect.Good, inspect.Defective or Failed
	Verdict  *inspect.Verdict `json:"verdict,omitempty"` // of the images that could be judged; nil where there is none
	Absent   []string         `json:"absent,omitempty"`  // cameras without an image
	Images   []inspect.Line   `json:"images"`
	Model    Judge            `json:"model"`
	Pictures bool             `json:"pictures"` // drawings of the images are kept
	Error    string           `json:"error,omitempty"`
}

// Judge identifies what judged an object.
type Judge struct {
	Name        string `json:"name"`
	Checkpoint  string `json:"checkpoint"`  // SHA-256 of all tensors, in hexadecimal
	Calibration string `json:"calibration"` // SHA-256 of the calibrations
}

// Samples are the scores of an object by head, as calibration takes them.
type Samples map[string]calibration.Sample

// Stored is an entry of the journal.
type Stored struct {
	Record  Record  `json:"record"`
	Samples Samples `json:"samples,omitempty"`
	// Levels identifies those by which the head of both mixed its maps, "" without.
	Levels string `json:"levels,omitempty"`
	// Content identifies what was judged, where the request had a key that does not say so; "" in older entries.
	Content string `json:"content,omitempty"`
}

// Judged is the answer to a Request.
type Judged struct {
	Record
	// Result has maps and what draws them; nil where the record was stored before.
	Result *inspect.Result
	Again  bool // the record was stored before, under the key of the request
}

// BusyError says that as many objects wait as may.
type BusyError struct{ RetryAfter time.Duration }

func (e *BusyError) Error() string {
	return fmt.Sprintf("as many objects wait as may; again in %v", e.RetryAfter)
}

// UnknownError says that there is no such model, or class of a model.
type UnknownError struct{ Message string }

func (e *UnknownError) Error() string { return e.Message }

// ConflictError says why something cannot be done as things are.
type ConflictError struct {
	Message string
	Key     bool   // the key of a request names one of other content
	Code    string // names the reason for programs; "" where that would not help
}

func (e *ConflictError) Error() string { return e.Message }

func conflict(format string, args ...any) error { return coded("", format, args...) }

func coded(code, format string, args ...any) error {
	return &ConflictError{Message: fmt.Sprintf(format, args...), Code: code}
}

func unknown(format string, args ...any) error { return &UnknownError{fmt.Sprintf(format, args...)} }

// StoreError says why a judged object could not be stored. It then counts as not judged.
type StoreError struct{ Err error }

func (e *StoreError) Error() string { return e.Err.Error() }

func (e *StoreError) Unwrap() error { return e.Err }
