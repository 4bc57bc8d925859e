package publish

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"mvag-torch/internal/testenv/listen"
)

// wire are the bytes of packets.
func wire(list ...packets.ControlPacket) []byte {
	var b bytes.Buffer
	for _, p := range list {
		_ = p.Write(&b)
	}
	return b.Bytes()
}

// granted is the answer to a subscription, or more of them.
func granted(codes ...byte) packets.ControlPacket {
	p := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	p.MessageID, p.ReturnCodes = 1, codes
	return p
}

// asks is a message with a request.
func asks(payload string) packets.ControlPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload = "mvag-torch/inspect/gear", []byte(payload)
	return p
}

// hostile is a broker that takes connections, and answers the first packet after that with said.
func hostile(t testing.TB, said func() []byte) (address string) {
	return listen.Serve(t, func(c net.Conn) {
		if _, err := packets.ReadPacket(c); err != nil {
			return
		}
		_, _ = c.Write(wire(packets.NewControlPacket(packets.Connack)))
		if _, err := packets.ReadPacket(c); err != nil {
			return
		}
		_, _ = c.Write(said())
	})
}

// requestsOf is for a broker, and judges nothing.
func requestsOf(t testing.TB, address string) *Requests {
	t.Helper()
	r, err := NewRequests(MQTTConfig{Broker: "tcp://" + address, Inspect: DefaultInspect}, "j")
	if err != nil {
		t.Fatal(err)
	}
	r.Log = (&logs{}).logger()
	return r
}

// FuzzBroker holds that whatever a broker answers, what asks it gets an error of one line, or what it asked for.
func FuzzBroker(f *testing.F) {
	ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
	ack.MessageID = 1
	f.Add(wire(granted(1)))
	f.Add(wire(granted(1, 1))) // of more than was asked
	f.Add(wire(granted(0x80)))
	f.Add(wire(ack, ack, asks("{}"), granted(1)))
	f.Add(wire(packets.NewControlPacket(packets.Connack), packets.NewControlPacket(packets.Pubrec), packets.NewControlPacket(packets.Pubrel)))
	f.Add([]byte("0\xff\xff\xff\x7f\x00\x01a")) // of 256 MiB, it says
	f.Add([]byte("0\xff\xff\xff\xff\x01"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	var said []byte
	address := hostile(f, func() []byte { return said })
	f.Fuzz(func(t *testing.T, text []byte) {
		said = text
		if err := requestsOf(t, address).connection(t.Context()); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("requests: have %v, want an error of one line", err)
		}
		m, err := NewMQTT(MQTTConfig{Broker: "tcp://" + address}, "j")
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		m.opt.SetWriteTimeout(200 * time.Millisecond) // which a message takes that is sent just when the connection is lost
		if s, err := m.Send(t.Context(), []Message{{Seq: 1, Body: []byte("{}")}}); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("have %v, %v, want one line", s, err)
		}
	})
}

// TestBrokerBounds holds that what a broker sends is in memory in part only.
func TestBrokerBounds(t *testing.T) {
	for name, test := range map[string]struct {
		said []byte
		want string
	}{
		"announces":      {[]byte("0\xff\xff\xff\x7f\x00\x01a"), "the broker sends a message of 268435455 bytes, want at most 134217728"},
		"sends too fast": {append(wire(granted(1)), bytes.Repeat(wire(asks(strings.Repeat("x", 1000))), 20)...), "want at most 5000: they come faster"},
		"answers twice":  {wire(granted(1, 1)), "the broker answers in 4 bytes, want 3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := requestsOf(t, hostile(t, func() []byte { return test.said }))
			r.most = 5000
			if err := r.connection(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("have %v, want %q", err, test.want)
			}
			eventually(t, "all are given back", func() bool { return r.waiting.Load() == 0 })
		})
	}
}

// FuzzAnswer holds that whatever a receiver answers, little of it is read, and it is repeated in one short line.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: http://\x7f\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 422 \x1b[31mno\r\nContent-Length: 4\r\n\r\na\nb\x00"))
	f.Add([]byte("HTTP/1.1 503 x\r\nRetry-After: 99999999999999999999\r\nContent-Encoding: gzip\r\n\r\nx"))
	f.Add([]byte("HTTP/1.1 2 \x1b]0;\a\nX\x1b[31m\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"))
	f.Add([]byte("HTTP/1.1 400 " + strings.Repeat("x", 5000) + "\r\nX: " + strings.Repeat("x", 1000) + "\r\n\r\n"))
	var said []byte
	address := listen.Serve(f, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			_, _ = c.Write(said)
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}
	})
	f.Setenv("MVAG_TEST_TOKEN", "the secret of the test")
	f.Fuzz(func(t *testing.T, text []byte) {
		said = text
		w, err := NewWebhook(WebhookConfig{URL: "http://" + address, Token: Secret{Env: "MVAG_TEST_TOKEN"}, Tries: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		s, err := w.Send(t.Context(), []Message{{Seq: 1, ID: "j-1", Body: []byte("{}")}})
		line := fmt.Sprint(err)
		if len(s.Refused) > 0 {
			line = s.Refused[0].Reason
		}
		if strings.ContainsAny(line, "\n\r\x00\x1b") || len(line) > 3000 || strings.Contains(line, "the secret") {
			t.Errorf("have %q, want a short line without the token", line)
		}
		var wait waitError
		if n := len(s.Done) + len(s.Refused); n > 1 || n == 0 && err == nil || errors.As(err, &wait) && (wait.wait < 0 || wait.wait.Hours() > 1) {
			t.Errorf("have %+v, %v", s, err)
		}
	})
}

// TestAnswerWithoutEnd holds that of the heads and of the body of an answer only the beginning is read.
func TestAnswerWithoutEnd(t *testing.T) {
	for _, begin := range []string{"HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 500 \r\n\r\n"} {
		sent := make(chan int64, 1)
		address := listen.Serve(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, begin)
			n := int64(0)
			for block, err := bytes.Repeat([]byte("x"), 64<<10), error(nil); err == nil && n < 64<<20; n += int64(len(block)) {
				_, err = c.Write(block)
			}
			sent <- n
		})
		w, err := NewWebhook(WebhookConfig{URL: "http://" + address})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Send(t.Context(), []Message{{Seq: 1, Body: []byte("{}")}}); err == nil {
			t.Error("have no error")
		}
		if n := <-sent; n >= 64<<20 {
			t.Errorf("%q: all of %d bytes were taken", begin, n)
		}
	}
}

// FuzzSecret holds that of the file of a secret, the secret is a line that a header and a password can be, or an error that
// does not tell it.
func FuzzSecret(f *testing.F) {
	for _, text := range []string{"", "\n", "secret\n", "secret\r\n\r\n", "two\nlines", "a\x00b", "\xff\xfe", strings.Repeat("s", largestSecret+1)} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "secret")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		value, err := Secret{File: path}.Value()
		if err != nil {
			if line := err.Error(); !strings.HasPrefix(line, path+": ") || strings.Contains(line, "\n") || len(line) > len(path)+100 {
				t.Errorf("have %q of %q", err, text)
			}
			return
		}
		if value == "" || !bytes.HasPrefix(text, []byte(value)) || strings.Trim(string(text[len(value):]), "\r\n") != "" {
			t.Errorf("have %q of %q", value, text)
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			t.Errorf("have %q, want a line", value)
		}
	})
}

// TestSecretOfAPipe holds that a pipe or a device in place of a secret or certificate is refused at once.
func TestSecretOfAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero"} {
		_, secret := Secret{File: path}.Value()
		_, authority := TLS{CA: path}.config()
		_, pair := TLS{Cert: path, Key: path}.config()
		for _, err := range []error{secret, authority, pair} {
			if err == nil || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("%s: have %v", path, err)
			}
		}
	}
}

// TestSecretsAreNotSaid holds that neither a log of all levels nor an error has a password or token, whatever the other side
// does with it: refuses it, repeats it, is away or talks nonsense.
func TestSecretsAreNotSaid(t *testing.T) {
	const secret = "s3cret-of-the-line"
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all logs
	log := slog.New(slog.NewTextHandler(&all, &slog.HandlerOptions{Level: slog.LevelDebug}))
	refusal := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
	refusal.ReturnCode = packets.ErrRefusedBadUsernameOrPassword
	var asked []string
	for name, answer := range map[string]func(c net.Conn){
		"refuses": func(c net.Conn) { _, _ = packets.ReadPacket(c); _, _ = c.Write(wire(refusal)) },
		"talks": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 401 no\r\n\r\nwho?")
		},
		"is away": func(net.Conn) {},
	} {
		asked = append(asked, name)
		address := listen.Serve(t, answer)
		cfg := MQTTConfig{Broker: "tcp://" + address, User: "line", Password: Secret{File: path}, Inspect: DefaultInspect}
		mqtt, err := NewMQTT(cfg, "j")
		if err != nil {
			t.Fatal(err)
		}
		webhook, err := NewWebhook(WebhookConfig{URL: "http://line:" + secret + "@" + address, Token: Secret{File: path}})
		if err != nil {
			t.Fatal(err)
		}
		j := newJournal(t, "", "mqtt", "webhook")
		add(t, j, "gear", "S1")
		for to, d := range map[string]Destination{"mqtt": mqtt, "webhook": webhook} {
			stop := start(t, &Runner{Journal: j, To: to, Destination: d, Log: log, First: time.Millisecond})
			eventually(t, to+" failed", func() bool { return strings.Count(all.String(), "to="+to) >= len(asked) })
			stop()
		}
		r, err := NewRequests(cfg, "j")
		if err != nil {
			t.Fatal(err)
		}
		log.Error("requests", "error", r.connection(t.Context()))
		log.Debug("all", "configuration", fmt.Sprintf("%+v %+v", cfg, webhook.cfg.Token))
	}
	if text := all.String(); strings.Contains(text, secret) || !strings.Contains(text, "bad user name or password") {
		t.Errorf("have %s, want refusals without the secret", text)
	}
}
