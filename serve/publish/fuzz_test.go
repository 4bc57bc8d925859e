package publish

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mvag-torch/serve/journal"
)

// FuzzRequest holds that a message is refused in one line, or names an object, has images and has one key.
func FuzzRequest(f *testing.F) {
	f.Add("inspect/#", "inspect/gear", []byte(`{"object":"S17","images":{"C1":"AAEC"}}`))
	f.Add("inspect/+", "inspect/a/b", []byte(`{"object":"S17","class":"nut","model":"m","key":"k","images":{"":"AA=="}}`))
	f.Add("inspect", "inspect", []byte(`{"object":"","images":{}}{}`))
	f.Add("#", "x", []byte(`{"object":"a","images":{"C1":""}}`))
	f.Fuzz(func(t *testing.T, filter, topic string, payload []byte) {
		r, err := parse(filter, topic, payload)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have %q, want one line", err)
			}
			return
		}
		size := 0
		for _, image := range r.Images {
			size += len(image)
		}
		if r.Object == "" || size == 0 || size > len(payload) || !strings.HasPrefix(r.Key, "mqtt ") {
			t.Errorf("have object %q with %d bytes of images of %d and key %q", r.Object, size, len(payload), r.Key)
		}
		if again, err := parse(filter, topic, payload); err != nil || again.Key != r.Key {
			t.Errorf("have key %q, %v, want %q as before", again.Key, err, r.Key)
		}
	})
}

// FuzzLines holds that whatever the file of results ends with, a message is in it once, as a whole line, behind what
// was there.
func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"id":"j-7"}` + "\n"))
	f.Add([]byte(`{"id":"j-7"}`))
	f.Add([]byte(`{"id":"j-7","torn`))
	f.Add([]byte("\n\n\x00{\"id\":7}\n" + `{"id":"j-18446744073709551616"}`))
	path := filepath.Join(f.TempDir(), "results.jsonl")
	body := []byte(`{"id":"j-7"}`)
	f.Fuzz(func(t *testing.T, before []byte) {
		if err := os.WriteFile(path, before, 0o644); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is after a start
			l := NewLines(path, "j", slog.New(slog.DiscardHandler))
			s, err := l.Send(t.Context(), []Message{{Seq: 7, Body: body}})
			if err != nil || len(s.Done) != 1 {
				t.Fatalf("have %v, %v", s, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kept := before[:bytes.LastIndexByte(before, '\n')+1]
		if !bytes.HasPrefix(have, kept) || !bytes.HasSuffix(have, []byte("\n")) {
			t.Errorf("have %q after %q", have, before)
		}
		lines := func(text []byte) int {
			return bytes.Count(append([]byte("\n"), text...), []byte("\n"+string(body)+"\n"))
		}
		if n, m := lines(have), lines(kept); n != max(1, m) {
			t.Errorf("have the message %d times in %q, want it once", n, have)
		}
	})
}

// FuzzStored holds that whatever an entry of the journal has, what is published of it is a line of JSON under a topic without
// wildcards, else the error is a line.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"record":{"object":"S1","class":"gear","decision":"good","source":"x","model":{"name":"m"}}}`))
	f.Add([]byte(`{"record":{"object":"+/#","class":"$SYS","model":{"name":"\u0000\n"}}}`))
	f.Add([]byte(`{"record":null}`))
	f.Add([]byte("{\"record\":{\n\"object\":\"a\"\n}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := newMessage(journal.Entry{ID: "j-1", Seq: 1, Data: data})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("have %q, want one line", err)
			}
			return
		}
		if bytes.ContainsAny(m.Body, "\n\r") || !json.Valid(m.Body) {
			t.Errorf("have %q, want a line of JSON", m.Body)
		}
		topic, err := topicOf("{class}/"+DefaultTopic+"/{object}{decision}{source}", m)
		if err != nil || strings.ContainsAny(topic, "+#\x00") || strings.HasPrefix(topic, "$") {
			t.Errorf("have %q, %v", topic, err)
		}
	})
}
