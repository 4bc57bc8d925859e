package line

import (
	"encoding/json"
	"time"
)

// Keep bounds what is kept of judged objects; 0 is no bound.
type Keep struct {
	Days    int `yaml:"days"`
	Objects int `yaml:"objects"`
}

// Prune removes the oldest records beyond the bounds, with their pictures and keys, and returns how many. Records that a
// destination still waits for stay.
func (l *Line) Prune(k Keep) (int, error) {
	oldest := time.Now().Add(-time.Duration(k.Days) * 24 * time.Hour)
	ids, err := l.opt.Journal.Prune(func(_ uint64, count int, data []byte) bool {
		if k.Objects > 0 && count > k.Objects {
			return false
		}
		var s struct {
			Record struct {
				Time time.Time `json:"time"`
			} `json:"record"`
		}
		return k.Days == 0 || json.Unmarshal(data, &s) != nil || s.Record.Time.After(oldest)
	})
	if gone := l.forget(ids); err == nil {
		err = gone
	}
	for _, id := range ids {
		if gone := l.opt.Journal.Remove(ReviewNote, id); err == nil {
			err = gone
		}
	}
	return len(ids), err
}
