package publish

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// MQTTConfig is a broker, and what is published and asked there.
type MQTTConfig struct {
	Broker   string `yaml:"broker"` // tcp://HOST:1883, ssl://HOST:8883, ws://… or wss://…
	Client   string `yaml:"client"` // client id, unique at the broker; "" is made of the name of the journal
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
	TLS      TLS    `yaml:"tls"`
	Topic    string `yaml:"topic"`   // of results; "" is DefaultTopic. See Topic for what may be in it
	Status   string `yaml:"status"`  // retained "online" or "offline"; "" is DefaultStatus
	Inspect  string `yaml:"inspect"` // filter of the topics with requests, "" for none, DefaultInspect is usual
	Errors   string `yaml:"errors"`  // topic for requests that cannot be answered; "" is DefaultErrors
}

// The topics where none are set.
const (
	DefaultTopic   = "mvag-torch/{model}/{class}/result"
	DefaultStatus  = "mvag-torch/status"
	DefaultInspect = "mvag-torch/inspect/#"
	DefaultErrors  = "mvag-torch/error"
)

const (
	online, offline = "online", "offline"
	qos             = 1 // at least once
	mqttTimeout     = 20 * time.Second
)

// withDefaults fills in what is not set. name is that of the journal.
func (c MQTTConfig) withDefaults(name string) MQTTConfig {
	for to, value := range map[*string]string{&c.Topic: DefaultTopic, &c.Status: DefaultStatus, &c.Errors: DefaultErrors,
		&c.Client: "mvag-torch-" + name} {
		if *to == "" {
			*to = value
		}
	}
	return c
}

// Check returns an error for values that cannot be used.
func (c MQTTConfig) Check() error {
	u, err := url.Parse(c.Broker)
	schemes := map[string]bool{"tcp": true, "mqtt": true, "ssl": true, "tls": true, "mqtts": true, "ws": true, "wss": true}
	if err != nil || u.Host == "" || !schemes[u.Scheme] || u.User != nil {
		return fmt.Errorf("broker: have %q, want tcp://HOST:PORT, ssl://, ws:// or wss://, without a password", c.Broker)
	}
	c = c.withDefaults("")
	for _, t := range []struct{ key, topic string }{{"topic", c.Topic}, {"status", c.Status}, {"errors", c.Errors}} {
		if strings.ContainsAny(t.topic, "+#\x00") || len(t.topic) > 1024 {
			return fmt.Errorf("%s: have %q, want a topic without + and #", t.key, t.topic)
		}
	}
	if _, err := topicOf(c.Topic, Message{}); err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	return nil
}

// options are those that all connections share.
func (c MQTTConfig) options() (*mqtt.ClientOptions, error) {
	password, err := c.Password.Value()
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	security, err := c.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	// A lost connection is made again by us, with jitter, and what was not confirmed comes from the journal.
	return mqtt.NewClientOptions().AddBroker(c.Broker).SetClientID(c.Client).SetUsername(c.User).SetPassword(password).
		SetTLSConfig(security).SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(mqttTimeout).
		SetWriteTimeout(mqttTimeout).SetKeepAlive(20 * time.Second).SetPingTimeout(10 * time.Second).SetOrderMatters(false).
		SetCustomOpenConnectionFn(connect), nil
}

// topicOf fills in {model}, {class}, {object}, {decision} and {source}. In a value the characters + # / and those that
// cannot be printed become _, as does a $ at the beginning of the topic; an empty value becomes _. So two values may
// give one topic. The message has them as they are.
func topicOf(template string, m Message) (string, error) {
	values := map[string]string{"model": m.Model, "class": m.Class, "object": m.Object, "decision": m.Decision, "source": m.Source}
	var topic strings.Builder
	for rest := template; rest != ""; {
		text, after, found := strings.Cut(rest, "{")
		topic.WriteString(text)
		if !found {
			break
		}
		name, next, closed := strings.Cut(after, "}")
		value, known := values[name]
		if !closed || !known {
			return "", fmt.Errorf("have %q in %q, want {model}, {class}, {object}, {decision} or {source}", "{"+name, template)
		}
		topic.WriteString(level(value))
		rest = next
	}
	if text, ok := strings.CutPrefix(topic.String(), "$"); ok {
		return "_" + text, nil
	}
	return topic.String(), nil
}

// level makes a value safe as a level of a topic, of at most 200 characters.
func level(value string) string {
	safe := strings.Map(func(r rune) rune {
		if strings.ContainsRune("+#/", r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '_'
		}
		return r
	}, value)
	if runes := []rune(safe); len(runes) > 200 {
		safe = string(runes[:200])
	}
	if safe == "" {
		return "_"
	}
	return safe
}

// MQTT publishes each message with QoS 1 and a retained status: "online" while connected, "offline" after a stop and, by
// its last will, after a loss. A window of messages is under way at once; those that the broker confirmed are done. What
// it did not confirm is sent again, so a message may arrive twice, with the same id.
type MQTT struct {
	cfg    MQTTConfig
	opt    *mqtt.ClientOptions
	client mqtt.Client // nil or lost: to be connected
	lost   chan struct{}
	losses int // connections in a row on which nothing was confirmed
}

// NewMQTT reads the password and the certificates that cfg names. journal is the name of the journal.
func NewMQTT(cfg MQTTConfig, journal string) (*MQTT, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	m := &MQTT{cfg: cfg.withDefaults(journal), lost: make(chan struct{}, 1)}
	opt, err := m.cfg.options()
	if err != nil {
		return nil, err
	}
	m.opt = opt.SetCleanSession(true).SetWill(m.cfg.Status, offline, qos, true).
		SetConnectionLostHandler(func(mqtt.Client, error) {
			select {
			case m.lost <- struct{}{}:
			default:
			}
		})
	return m, nil
}

// Lost tells that the connection is gone.
func (m *MQTT) Lost() <-chan struct{} { return m.lost }

// wait waits for a token and returns its error. A message that is handed over just when the connection is lost has a
// token that never completes, so wait looks after the connection too; client is nil while there is none to look after.
func wait(ctx context.Context, t mqtt.Token, client mqtt.Client) error {
	timeout := time.NewTimer(mqttTimeout)
	defer timeout.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for gone := 0; ; {
		select {
		case <-t.Done():
			return t.Error()
		case <-look.C:
			if client == nil || client.IsConnectionOpen() {
				continue
			}
			if gone++; gone < 2 || isDone(t) {
				continue
			}
			return errors.New("connection lost")
		case <-timeout.C:
			return fmt.Errorf("no answer of the broker for %v", mqttTimeout)
		case <-ctx.Done():
			if isDone(t) {
				return t.Error()
			}
			return ctx.Err()
		}
	}
}

// connect connects where there is no connection and says so in the status.
func (m *MQTT) connect(ctx context.Context) error {
	if m.client != nil && m.client.IsConnectionOpen() {
		return nil
	}
	m.drop()
	client := mqtt.NewClient(m.opt)
	err := wait(ctx, client.Connect(), nil)
	if err == nil {
		err = wait(ctx, client.Publish(m.cfg.Status, qos, true, online), client)
	}
	if err != nil {
		client.Disconnect(0)
		return err
	}
	m.client = client
	return nil
}

// drop ends a connection that is of no more use.
func (m *MQTT) drop() {
	if m.client != nil {
		m.client.Disconnect(0)
		m.client = nil
	}
}

// Send publishes messages and waits for their confirmations.
func (m *MQTT) Send(ctx context.Context, list []Message) (s Sent, err error) {
	if err := m.connect(ctx); err != nil {
		return s, fmt.Errorf("%s: %w", m.cfg.Broker, err)
	}
	tokens := make([]mqtt.Token, 0, len(list))
	for _, x := range list {
		topic, err := topicOf(m.cfg.Topic, x)
		if err != nil {
			return s, err
		}
		t := m.client.Publish(topic, qos, false, x.Body)
		if tokens = append(tokens, t); isDone(t) && t.Error() != nil {
			break // the others would wait as long
		}
	}
	for i, t := range tokens {
		if err == nil {
			err = wait(ctx, t, m.client)
		}
		if isDone(t) && t.Error() == nil {
			s.Done = append(s.Done, list[i].Seq)
		}
	}
	if m.losses++; err == nil || len(s.Done) > 0 {
		m.losses = 0
	}
	if err != nil {
		m.drop()
		return s, fmt.Errorf("%s: %w%s", m.cfg.Broker, err, m.hint(list[0]))
	}
	return s, nil
}

// hint says what may be wrong with a broker that takes connections and ends them again.
func (m *MQTT) hint(first Message) string {
	if m.losses < 3 {
		return ""
	}
	return fmt.Sprintf(", again and again: is %q the client id of another one too, or message %s of %d bytes too long for the broker?",
		m.cfg.Client, first.ID, len(first.Body))
}

func isDone(t mqtt.Token) bool {
	select {
	case <-t.Done():
		return true
	default:
		return false
	}
}

// Close says "offline" and disconnects.
func (m *MQTT) Close() error {
	if m.client == nil || !m.client.IsConnectionOpen() {
		return nil
	}
	ctx, over := context.WithTimeout(context.Background(), 2*time.Second)
	defer over()
	err := wait(ctx, m.client.Publish(m.cfg.Status, qos, true, offline), m.client)
	m.client.Disconnect(250)
	m.client = nil
	return err
}
