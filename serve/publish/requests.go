package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Request is an object that a message asks to be judged.
type Request struct {
	Topic  string
	Key    string // names the request, for line.Request
	Object string
	Class  string
	Model  string
	Images map[string][]byte // encoded images by camera: its name or number, "image" or "" for a single image of none
}

// ErrAgain is in the errors of Requests.Judge for objects that can be judged later: the line is busy, the disk is full.
var ErrAgain = errors.New("again later")

// Requests subscribes to topics and has the objects in their messages judged. The answer is the ordinary result of the
// destination MQTT: find it by its object.
//
//	{"object":"S17","class":"gear","images":{"C1":"<base64>","C2":"<base64>"}}
//
// "model", "class" and "key" may be left out. The topic may name the class as its last level where the filter ends with
// # or +. A message is acknowledged once the journal has its result, or once it is refused; the broker keeps it until
// then, also while this service is away, because the session is a lasting one.
//
// A message that comes twice is judged once. Its key is the hash of topic and content, or of topic and "key" where the
// message has one. So whoever wants the very same images judged again sends another "key".
//
// A request that cannot be answered (no JSON, no image, unknown class) is logged, counted, and told in the topic for
// errors: {"topic":…,"object":…,"class":…,"error":"one line"}.
type Requests struct {
	// Judge returns once the journal has the result. It retries nothing: for errors with ErrAgain, Requests asks again.
	Judge   func(ctx context.Context, r Request) error
	Log     *slog.Logger
	Refused func() // counts messages that cannot be answered; may be nil

	cfg      MQTTConfig
	opt      *mqtt.ClientOptions
	messages chan mqtt.Message
	waiting  atomic.Int64                // bytes of messages that nobody has taken yet
	most     int64                       // of them, in memory
	client   atomic.Pointer[mqtt.Client] // the connected one, for errors
}

// NewRequests reads the password and the certificates that cfg names. journal is the name of the journal.
func NewRequests(cfg MQTTConfig, journal string) (*Requests, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	r := &Requests{cfg: cfg.withDefaults(journal), messages: make(chan mqtt.Message), most: 4 * largestPacket}
	if err := checkFilter(r.cfg.Inspect); err != nil {
		return nil, err
	}
	opt, err := r.cfg.options()
	if err != nil {
		return nil, err
	}
	// A connection of its own, whose session lasts and so needs a name that is not the publisher's.
	r.opt = opt.SetClientID(r.cfg.Client + "-in").SetCleanSession(false).SetAutoAckDisabled(true)
	return r, nil
}

// checkFilter refuses filters that a broker would, in which case it may end the connection without a word.
func checkFilter(filter string) error {
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		whole := l == "+" || l == "#" && i == len(levels)-1
		if filter == "" || strings.ContainsAny(l, "+#\x00") && !whole {
			return fmt.Errorf("inspect: have %q, want a topic, + for one level of it, # for the last ones", filter)
		}
	}
	return nil
}

// Run takes requests until ctx ends, at most parallel at once, and returns when they are answered or given back to the
// broker. It connects again after each loss.
func (r *Requests) Run(ctx context.Context, parallel int) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for range max(parallel, 1) {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case m := <-r.messages:
					r.answer(ctx, m)
				}
			}
		})
	}
	said := ""
	for failures := 0; ctx.Err() == nil; {
		start := time.Now()
		err := r.connection(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > time.Minute {
			failures, said = 0, ""
		}
		failures++
		if text := err.Error(); text != said {
			said = text
			r.Log.Warn("cannot take requests, will try again", "broker", r.cfg.Broker, "error", err)
		}
		sleep(ctx, backoff(time.Second, time.Minute, failures))
	}
}

// connection subscribes and returns when the connection is lost, or ctx ends.
func (r *Requests) connection(ctx context.Context) error {
	lost := make(chan error, 1)
	here, gone := context.WithCancel(ctx)
	defer gone()
	opt := *r.opt
	lose := func(err error) {
		select {
		case lost <- err:
		default: // it is lost already
		}
	}
	opt.SetConnectionLostHandler(func(_ mqtt.Client, err error) { lose(err) })
	take := func(_ mqtt.Client, m mqtt.Message) { // in a goroutine of its own; how many a broker bounds, or does not
		size := int64(len(m.Payload()))
		defer r.waiting.Add(-size)
		if have := r.waiting.Add(size); have > r.most {
			lose(fmt.Errorf("have %d bytes of requests that wait, want at most %d: they come faster than they are judged", have, r.most))
		}
		select {
		case r.messages <- m:
		case <-here.Done(): // the broker sends it again
		}
	}
	opt.SetDefaultPublishHandler(take) // what the broker kept comes before the subscription is made again
	client := mqtt.NewClient(&opt)
	defer client.Disconnect(250)
	if err := wait(ctx, client.Connect(), nil); err != nil {
		return err
	}
	t := client.Subscribe(r.cfg.Inspect, qos, nil)
	if err := wait(ctx, t, client); err != nil {
		select {
		case err = <-lost: // says why
		case <-time.After(100 * time.Millisecond):
		}
		return err
	}
	if granted := t.(*mqtt.SubscribeToken).Result()[r.cfg.Inspect]; granted > 2 {
		return fmt.Errorf("the broker refuses the subscription to %q", r.cfg.Inspect)
	}
	r.Log.Info("taking requests", "broker", r.cfg.Broker, "topic", r.cfg.Inspect)
	r.client.Store(&client)
	defer r.client.Store(nil)
	select {
	case err := <-lost:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer has one message judged and acknowledges it. Where ctx ends first, it does not, and the broker sends it again.
func (r *Requests) answer(ctx context.Context, m mqtt.Message) {
	q, err := parse(r.cfg.Inspect, m.Topic(), m.Payload())
	for failures := 1; err == nil; failures++ {
		err = r.Judge(ctx, q)
		switch {
		case err == nil:
			m.Ack()
			return
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrAgain):
			err = nil
			sleep(ctx, backoff(100*time.Millisecond, 10*time.Second, failures))
		}
	}
	r.Log.Error("request refused", "topic", m.Topic(), "object", q.Object, "error", err)
	if r.Refused != nil {
		r.Refused()
	}
	text, _ := json.Marshal(map[string]string{"topic": m.Topic(), "object": q.Object, "class": q.Class, "error": err.Error()})
	client := r.client.Load()
	if client == nil || wait(ctx, (*client).Publish(r.cfg.Errors, qos, false, text), *client) != nil {
		return // the connection is lost: the broker sends the message again, and its sender is told then
	}
	m.Ack()
}

// parse reads a message. The class may be the last level of a topic that has more of them than the filter names.
func parse(filter, topic string, payload []byte) (Request, error) {
	var body struct {
		Object string            `json:"object"`
		Class  string            `json:"class"`
		Model  string            `json:"model"`
		Key    string            `json:"key"`
		Images map[string][]byte `json:"images"`
	}
	r := Request{Topic: topic}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	err := d.Decode(&body)
	if _, more := d.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("more than one object")
	}
	if err != nil {
		return r, fmt.Errorf(`have no such request: %w; want {"object":…,"class":…,"images":{"C1":"<base64>",…}}`, err)
	}
	r.Object, r.Class, r.Model, r.Images = body.Object, body.Class, body.Model, body.Images
	if base := strings.TrimRight(filter, "+#"); base != filter && r.Class == "" {
		if rest, ok := strings.CutPrefix(topic, base); ok && !strings.Contains(rest, "/") {
			r.Class = rest
		}
	}
	switch {
	case r.Object == "":
		return r, errors.New("have no object, want its name")
	case len(r.Images) == 0:
		return r, errors.New("have no images, want at least one")
	}
	for camera, data := range r.Images {
		if len(data) == 0 {
			return r, fmt.Errorf("image of camera %q: empty", camera)
		}
	}
	r.Key = key(topic, body.Key, payload)
	return r, nil
}

// key names a request. The lengths keep apart what would otherwise read the same.
func key(topic, own string, payload []byte) string {
	h := sha256.New()
	kind := "own"
	if own == "" {
		kind, own = "payload", string(payload)
	}
	fmt.Fprintf(h, "%d %s %s ", len(topic), topic, kind)
	h.Write([]byte(own))
	return "mqtt " + hex.EncodeToString(h.Sum(nil))
}
