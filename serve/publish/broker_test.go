package publish

import (
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"mvag-torch/internal/testenv/listen"
)

// broker is a mosquitto of its own, on a free port and with its own configuration.
type broker struct {
	t    *testing.T
	dir  string
	port int
	more string // of the configuration
	cmd  *exec.Cmd
}

// newBroker starts a broker. Without mosquitto the test is skipped, or fails if CI is set.
func newBroker(t *testing.T, more string) *broker {
	t.Helper()
	b := &broker{t: t, dir: t.TempDir(), port: listen.Free(t), more: more}
	b.start()
	t.Cleanup(func() { b.stop(os.Kill) })
	return b
}

func (b *broker) address() string { return fmt.Sprint("127.0.0.1:", b.port) }

func (b *broker) start() {
	b.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // where Debian has it, which is not in every PATH
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			b.t.Fatal("mosquitto: missing, and CI is set")
		}
		b.t.Skip("mosquitto: missing; install it to test publishing by MQTT")
	}
	conf := filepath.Join(b.dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nuser root\npersistence true\npersistence_location %s/\nlog_dest none\nmax_queued_messages 0\n%s", b.port, b.dir, b.more)
	if !strings.Contains(text, "password_file") {
		text += "\nallow_anonymous true\n"
	}
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.cmd = exec.Command(path, "-c", conf)
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	eventually(b.t, "broker listens", func() bool {
		c, err := net.Dial("tcp", b.address())
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// stop ends the broker: with os.Interrupt it saves what it has first.
func (b *broker) stop(how os.Signal) {
	_ = b.cmd.Process.Signal(how)
	_ = b.cmd.Wait()
}

// subscriber collects what is published.
type subscriber struct {
	client mqtt.Client
	mu     sync.Mutex
	got    map[string][]string // payloads by topic, or objects of results
}

// subscribe keeps a lasting session, so that it misses nothing while the broker is away.
func subscribe(t *testing.T, b *broker, topic string) *subscriber {
	t.Helper()
	s := &subscriber{got: map[string][]string{}}
	opt := mqtt.NewClientOptions().AddBroker("tcp://" + b.address()).SetClientID(fmt.Sprint("test-", time.Now().UnixNano())).
		SetCleanSession(false).SetAutoReconnect(true).SetMaxReconnectInterval(20 * time.Millisecond).SetConnectRetry(true)
	opt.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got[m.Topic()] = append(s.got[m.Topic()], string(m.Payload()))
	})
	s.client = mqtt.NewClient(opt)
	if err := wait(t.Context(), s.client.Connect(), nil); err != nil {
		t.Fatal(err)
	}
	if err := wait(t.Context(), s.client.Subscribe(topic, 1, nil), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.Disconnect(0) })
	return s
}

func (s *subscriber) topic(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got[name])
}

// objects are the different ids of results, in the order in which they came first.
func (s *subscriber) objects(topic string) (ids []string) {
	seen := map[string]bool{}
	for _, text := range s.topic(topic) {
		var r struct{ ID string }
		if json.Unmarshal([]byte(text), &r) == nil && !seen[r.ID] {
			seen[r.ID] = true
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func last(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

// proxy passes bytes between clients and a broker and cuts each connection a random time of at most 2·cut
// after the first answer.
func proxy(t *testing.T, to string, cut time.Duration) string {
	t.Helper()
	return listen.Serve(t, func(in net.Conn) {
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		end := func() { _ = in.Close(); _ = out.Close() }
		defer end()
		go func() { defer end(); _, _ = io.Copy(out, in) }()
		if _, err := io.CopyN(in, out, 1); err != nil {
			return
		}
		// From the answer on, so that something passes on a busy machine, too.
		time.AfterFunc(cut/2+mathrand.N(3*cut/2), end)
		_, _ = io.Copy(in, out)
	})
}

// throwOut takes a connection and the status, and returns at the next message.
func throwOut(c net.Conn) {
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			_ = packets.NewControlPacket(packets.Connack).Write(c)
		case *packets.PublishPacket:
			if p.TopicName != DefaultStatus {
				return
			}
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = p.MessageID
			_ = ack.Write(c)
		}
	}
}
