package serve

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"mvag-torch/dataset"
	"mvag-torch/inspect/inspecttest"
	"mvag-torch/internal/testenv/listen"
	"mvag-torch/model/checkpoint"
	"mvag-torch/serve/line"
	"mvag-torch/serve/publish"
)

// spool lets a service that can be taught publish to a broker and a webhook.
func spool(cfg *Config, broker, hook string) {
	cfg.Models[0].Set = []string{"memory.codes=20", "memory.dims=4"}
	cfg.MQTT = &publish.MQTTConfig{Broker: broker}
	cfg.Webhook = &publish.WebhookConfig{URL: hook}
}

// receivers are a webhook and a broker that are slow, or away, and keep the ids of what they have confirmed.
type receivers struct {
	mu   sync.Mutex
	away bool
	ids  [2]map[string]bool // of the webhook and the broker
	urls [2]string
}

func newReceivers(t *testing.T) *receivers {
	t.Helper()
	r := &receivers{ids: [2]map[string]bool{{}, {}}}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !r.take(0, q.Header.Get("Idempotency-Key")) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(hook.Close)
	r.urls = [2]string{hook.URL, "tcp://" + listen.Serve(t, r.broke)}
	return r
}

// take confirms a record, slowly, unless the receivers are away.
func (r *receivers) take(which int, id string) bool {
	time.Sleep(10 * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	if id != "" && !r.away {
		r.ids[which][id] = true
	}
	return !r.away
}

func (r *receivers) leave(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

// broke speaks MQTT as far as a publisher needs it.
func (r *receivers) broke(c net.Conn) {
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		var answer packets.ControlPacket
		switch p := p.(type) {
		case *packets.ConnectPacket:
			answer = packets.NewControlPacket(packets.Connack)
		case *packets.PingreqPacket:
			answer = packets.NewControlPacket(packets.Pingresp)
		case *packets.PublishPacket:
			var record struct{ ID string }
			_ = json.Unmarshal(p.Payload, &record) // the status is no JSON
			if !r.take(1, record.ID) {
				return
			}
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID, answer = p.MessageID, ack
		default:
			return
		}
		if answer.Write(c) != nil {
			return
		}
	}
}

// pupil teaches a service that is killed, and knows what it has answered.
type pupil struct {
	dir, model string
	objects    []dataset.Object
	classes    int // begun

	mu       sync.Mutex
	answered map[string]map[string]bool // names of objects by session; of those that go live, nil
	sums     map[string]bool            // that the checkpoint may have
	stages   chan string                // what it does now
}

func (p *pupil) expect(id string, objects map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered[id] = objects
}

func sumOf(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// stage tells what p does now, if somebody waits for it.
func (p *pupil) stage(name string) {
	select {
	case p.stages <- name:
	default:
	}
}

const asJSON = "application/json"

// teach teaches a class, in a session that goes on or a new one, and the next class, until the service ends. The error is
// what that did not do, nil where it was only killed.
func (p *pupil) teach(url string) error {
	for {
		var all struct{ Sessions []line.Session }
		err := call(http.MethodGet, url+"/v1/teach", "", nil, http.StatusOK, &all)
		var s line.Session
		if err == nil && len(all.Sessions) > 0 && all.Sessions[0].State != line.Live {
			s = all.Sessions[0]
		} else if err == nil {
			p.classes++
			text := fmt.Sprintf(`{"class": "taught%d"}`, p.classes)
			err = call(http.MethodPost, url+"/v1/teach", asJSON, strings.NewReader(text), http.StatusCreated, &s)
		}
		if err == nil {
			err = p.session(url+"/v1/teach/"+s.ID, s)
		}
		var gone *net.OpError
		if err != nil {
			if errors.As(err, &gone) || strings.Contains(err.Error(), "EOF") {
				return nil
			}
			return err
		}
	}
}

// session collects what a session lacks, builds it and lets it go live.
func (p *pupil) session(url string, s line.Session) error {
	names := map[string]bool{}
	for _, o := range s.Objects {
		names[o.Object] = true
	}
	p.expect(s.ID, names)
	for i, o := range p.objects {
		var part line.TaughtPart
		if o.ID = fmt.Sprint("o", i); names[o.ID] {
			continue
		}
		kind, body := form(o)
		if err := call(http.MethodPost, url+"/objects", kind, body, http.StatusOK, &part); err != nil {
			return err
		}
		if !part.Accepted {
			return fmt.Errorf("%s: %+v", o.ID, part)
		}
		p.mu.Lock()
		names[o.ID] = true
		p.mu.Unlock()
		if i == len(p.objects)/2 {
			p.stage(line.Collecting)
		}
	}
	last := fmt.Sprint("o", len(p.objects)-1)
	p.mu.Lock()
	delete(names, last) // it may be there or not
	p.mu.Unlock()
	if err := call(http.MethodDelete, url+"/objects/"+last, "", nil, http.StatusNoContent, nil); err != nil {
		return err
	}
	err := call(http.MethodPost, url+"/build", "", nil, http.StatusAccepted, &s)
	p.stage(line.Building)
	for err == nil && s.State == line.Building {
		time.Sleep(10 * time.Millisecond)
		err = call(http.MethodGet, url, "", nil, http.StatusOK, &s)
	}
	if err != nil {
		return err
	}
	if s.State != line.Ready {
		return fmt.Errorf("have %+v, want it ready", s)
	}
	p.mu.Lock()
	p.answered[s.ID] = nil
	p.sums = map[string]bool{sumOf(p.model): true, sumOf(filepath.Join(p.dir, "out", "teach", s.ID, "checkpoint.safetensors")): true}
	p.mu.Unlock()
	p.stage(line.Live)
	if err := call(http.MethodPost, url+"/live", "", nil, http.StatusOK, &s); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.answered, s.ID)
	p.sums = map[string]bool{sumOf(p.model): true}
	return nil
}

// check holds, after a start, that each session has the objects that were answered for, no file that it does not list and each
// that it does, and that the checkpoint is the one before or the new one.
func (p *pupil) check(t *testing.T, url string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var all struct{ Sessions []line.Session }
	if err := call(http.MethodGet, url+"/v1/teach", "", nil, http.StatusOK, &all); err != nil {
		t.Error(err)
	}
	want := map[string]bool{}
	for _, s := range all.Sessions {
		files := 1
		have := map[string]bool{}
		for _, o := range s.Objects {
			have[o.Object] = true
			files += inspecttest.Views
		}
		for name := range p.answered[s.ID] {
			if !have[name] {
				t.Errorf("session %s, which is %s: has no object %s, which was answered for", s.ID, s.State, name)
			}
		}
		if s.State == line.Ready {
			files++
		}
		paths, err := filepath.Glob(filepath.Join(p.dir, "out", "teach", s.ID, "*"))
		hidden, err2 := filepath.Glob(filepath.Join(p.dir, "out", "teach", s.ID, ".*"))
		if err := errors.Join(err, err2); err != nil || len(paths) != files || len(hidden) > 0 {
			t.Errorf("session %s, which is %s: have files %q, %q, %v, want %d", s.ID, s.State, paths, hidden, err, files)
		}
		want[filepath.Join(p.dir, "out", "teach", s.ID)] = true
		delete(p.answered, s.ID)
	}
	folders, err := filepath.Glob(filepath.Join(p.dir, "out", "teach", "*"))
	if err != nil || slices.ContainsFunc(folders, func(f string) bool { return !want[f] }) {
		t.Errorf("have folders %q, %v, want those of the sessions alone", folders, err)
	}
	for id, objects := range p.answered {
		if len(objects) > 0 {
			t.Errorf("session %s: is gone with its objects", id)
		}
	}
	clear(p.answered)
	f, err := checkpoint.Open(p.model)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if sum := sumOf(p.model); !p.sums[sum] {
		t.Errorf("the checkpoint is neither the one before nor the new one")
	}
	p.sums = map[string]bool{sumOf(p.model): true}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(p.model), ".mvag-*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// TestKilledWhileTaught kills a service that is taught classes, while it is asked and publishes to a webhook and a broker that
// are slow or away: what was answered is in the session or the journal, sessions go on, the checkpoint is the one before or
// the new one, and each record arrives. No file is left. MVAG_TEST_KILLS is how often it is killed.
func TestKilledWhileTaught(t *testing.T) {
	kills := howMany(3)
	dir := t.TempDir()
	model := inspecttest.Checkpoint(t)
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := newReceivers(t)
	p := &pupil{dir: dir, model: model, objects: inspecttest.Objects(t, "bolt", 11), answered: map[string]map[string]bool{},
		sums: map[string]bool{sumOf(model): true}, stages: make(chan string)}
	a := asker{answered: map[string]string{}}
	at := []string{line.Collecting, line.Building, line.Live}
	for i := range kills {
		r.leave(i%2 == 0)
		killed(t, dir, model, func(url string) {
			p.check(t, url)
			a.asking.Go(func() { a.ask(url, inspecttest.Objects(t, inspecttest.Trained, 1)[0]) })
			a.asking.Go(func() {
				if err := p.teach(url); err != nil {
					t.Error(err)
				}
			})
			for end := time.After(2 * time.Minute); ; {
				select {
				case stage := <-p.stages:
					if stage == at[i%len(at)] {
						return
					}
				case <-end:
					t.Errorf("have waited for two minutes until a session is %s", at[i%len(at)])
					return
				}
			}
		}, "MVAG_TEST_DESTINATIONS="+strings.Join([]string{r.urls[1], r.urls[0]}, " "))
		a.asking.Wait()
	}
	r.leave(false)
	cfg := watching(dir, model)
	spool(&cfg, r.urls[1], r.urls[0])
	url, stop := run(t, func(c *Config) { *c = cfg })
	p.check(t, url)
	p.finish(t, url)
	stop()
	ids := recorded(t, cfg.Out)
	a.check(t, ids)
	checkFiles(t, cfg.Out, ids)
	r.mu.Lock()
	defer r.mu.Unlock()
	for object, id := range ids {
		if !r.ids[0][id] || !r.ids[1][id] {
			t.Errorf("%s: have it at the webhook: %t, at the broker: %t, want both", object, r.ids[0][id], r.ids[1][id])
		}
	}
	t.Logf("%d kills, %d classes begun, %d objects answered, %d in the journal and published", kills, p.classes, len(a.answered), len(ids))
	if len(a.answered) == 0 {
		t.Error("have no answer")
	}
}

// finish lets all sessions go on to their end.
func (p *pupil) finish(t *testing.T, url string) {
	t.Helper()
	var all struct{ Sessions []line.Session }
	if err := call(http.MethodGet, url+"/v1/teach", "", nil, http.StatusOK, &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all.Sessions {
		if err := p.session(url+"/v1/teach/"+s.ID, s); err != nil {
			t.Error(err)
		}
	}
}
