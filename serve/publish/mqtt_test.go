package publish

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mvag-torch/internal/testenv/listen"
	"mvag-torch/serve/journal"
)

// TestMain is a service that is killed, where the environment says so.
func TestMain(m *testing.M) {
	broker := os.Getenv("MVAG_TEST_BROKER")
	if broker == "" {
		os.Exit(m.Run())
	}
	j, err := journal.Open(os.Getenv("MVAG_TEST_JOURNAL"), journal.Options{To: []string{"mqtt", "lines"}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	d, err := NewMQTT(MQTTConfig{Broker: broker}, j.Name())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	log := slog.New(slog.DiscardHandler)
	go (&Runner{Journal: j, To: "mqtt", Destination: d, Log: log, First: 5 * time.Millisecond}).Run(context.Background())
	lines := NewLines(os.Getenv("MVAG_TEST_JOURNAL")+".jsonl", j.Name(), log)
	go (&Runner{Journal: j, To: "lines", Destination: lines, Log: log}).Run(context.Background())
	for i := 0; ; i++ {
		e, _, err := j.Append("", record("gear", fmt.Sprint("S", i)))
		if err != nil {
			fmt.Println("!", err)
			os.Exit(1)
		}
		fmt.Println(e.ID)
	}
}

func newMQTT(t *testing.T, cfg MQTTConfig, j *journal.Journal) *MQTT {
	t.Helper()
	d, err := NewMQTT(cfg, j.Name())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const gearTopic = "mvag-torch/parts/gear/result"

func TestMQTT(t *testing.T) {
	b := newBroker(t, "")
	s := subscribe(t, b, "mvag-torch/#")
	j := newJournal(t, "", "mqtt")
	var want []string
	more := func(n int) {
		for range n {
			want = append(want, add(t, j, "gear", "S"))
		}
	}
	check := func(what string) {
		t.Helper()
		drained(t, j, "mqtt")
		eventually(t, what, func() bool { return len(s.objects(gearTopic)) >= len(want) })
		if have := s.objects(gearTopic); !slices.Equal(have, want) {
			t.Errorf("%s: have %d, want %d: %q", what, len(have), len(want), have)
		}
	}
	var l logs
	stop := start(t, &Runner{Journal: j, To: "mqtt", Destination: newMQTT(t, MQTTConfig{Broker: "tcp://" + b.address()}, j), Log: l.logger()})
	eventually(t, "online", func() bool { return last(s.topic(DefaultStatus)) == online })
	more(200)
	check("at first")

	b.stop(os.Interrupt)
	more(100)
	eventually(t, "said", func() bool { return strings.Contains(l.String(), "cannot publish") })
	b.start()
	check("after the broker was away")

	// Without anything to publish, the connection is made again too.
	onlines := func() int { return strings.Count(strings.Join(s.topic(DefaultStatus), " "), online) }
	n := onlines()
	b.stop(os.Interrupt)
	b.start()
	eventually(t, "online without messages", func() bool { return onlines() > n })
	before := subscribe(t, b, DefaultStatus)
	eventually(t, "the status is retained", func() bool { return last(before.topic(DefaultStatus)) == online })

	stop()
	eventually(t, "offline after a stop", func() bool { return last(s.topic(DefaultStatus)) == offline })
	later := subscribe(t, b, DefaultStatus)
	eventually(t, "that is retained", func() bool { return last(later.topic(DefaultStatus)) == offline })
}

// TestMQTTBrokerKilled kills the broker amid messages. What it confirmed it may lose itself, so the test counts what
// stays pending: at last everything is confirmed.
func TestMQTTBrokerKilled(t *testing.T) {
	b := newBroker(t, "")
	j := newJournal(t, "", "mqtt")
	start(t, &Runner{Journal: j, To: "mqtt", Destination: newMQTT(t, MQTTConfig{Broker: "tcp://" + b.address()}, j), Window: 4})
	for range 5 {
		for range 50 {
			add(t, j, "gear", "S")
		}
		b.stop(os.Kill)
		time.Sleep(50 * time.Millisecond) // its last confirmations may be on their way
		n := j.Spooled("mqtt")
		add(t, j, "gear", "S")
		time.Sleep(20 * time.Millisecond)
		if have := j.Spooled("mqtt"); have != n+1 {
			t.Errorf("have %d pending without a broker, want %d", have, n+1)
		}
		b.start()
	}
	drained(t, j, "mqtt")
}

// TestMQTTCut cuts the connection again and again: each message arrives, in order.
func TestMQTTCut(t *testing.T) {
	b := newBroker(t, "")
	s := subscribe(t, b, "mvag-torch/#")
	j := newJournal(t, "", "mqtt")
	var want []string
	for range 1000 {
		want = append(want, add(t, j, "gear", "S"))
	}
	var l logs
	start(t, &Runner{Journal: j, To: "mqtt", Destination: newMQTT(t, MQTTConfig{Broker: "tcp://" + proxy(t, b.address(), 20*time.Millisecond)}, j), Log: l.logger()})
	drained(t, j, "mqtt")
	eventually(t, "all arrive", func() bool { return len(s.objects(gearTopic)) == len(want) })
	if have := s.objects(gearTopic); !slices.Equal(have, want) {
		t.Error("they came in another order")
	}
	if !strings.Contains(l.String(), "cannot publish") {
		t.Error("no connection was cut")
	}
	t.Logf("%d messages of %d objects", len(s.topic(gearTopic)), len(want))
}

// TestServiceKilled kills a service amid messages, again and again: each object is published, and is in the file of
// results exactly once; the last will says that the service is gone.
func TestServiceKilled(t *testing.T) {
	b := newBroker(t, "")
	s := subscribe(t, b, "mvag-torch/#")
	path := filepath.Join(t.TempDir(), "journal.db")
	stored := map[string]bool{}
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MVAG_TEST_BROKER=tcp://"+b.address(), "MVAG_TEST_JOURNAL="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(150+37*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
		text, _ := io.ReadAll(out)
		_ = cmd.Wait()
		for id := range strings.FieldsSeq(string(text[:strings.LastIndexByte(string(text), '\n')+1])) {
			if stored[id] || strings.HasPrefix(id, "!") {
				t.Fatalf("have %q", text)
			}
			stored[id] = true
		}
		eventually(t, "the last will", func() bool { return last(s.topic(DefaultStatus)) == offline })
	}
	j := newJournal(t, path, "mqtt", "lines")
	t.Logf("%d stored, %d in the journal, %d still to be published", len(stored), j.Len(), j.Spooled("mqtt"))
	start(t, &Runner{Journal: j, To: "mqtt", Destination: newMQTT(t, MQTTConfig{Broker: "tcp://" + b.address()}, j)})
	start(t, &Runner{Journal: j, To: "lines", Destination: NewLines(path+".jsonl", j.Name(), (&logs{}).logger())})
	drained(t, j, "mqtt")
	drained(t, j, "lines")
	eventually(t, "all arrive", func() bool { return len(s.objects(gearTopic)) == j.Len() })
	ids := idsOf(t, path+".jsonl")
	for i, id := range ids {
		if id != fmt.Sprint(j.Name(), "-", i+1) {
			t.Fatalf("line %d has %s", i+1, id)
		}
		delete(stored, id)
	}
	if len(ids) != j.Len() || len(stored) != 0 {
		t.Errorf("have %d lines of %d, without %v", len(ids), j.Len(), stored)
	}
}

func TestMQTTLogin(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(dir, "users")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", users, "line1", "s3cret").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skip("mosquitto_passwd: cannot be used")
	}
	b := newBroker(t, "password_file "+users)
	for name, test := range map[string]struct {
		user string
		want bool
	}{"right": {"line1", true}, "wrong": {"line2", false}} {
		j := newJournal(t, "", "mqtt")
		d := newMQTT(t, MQTTConfig{Broker: "tcp://" + b.address(), User: test.user, Password: Secret{File: secret}}, j)
		_, err := d.Send(t.Context(), nil)
		if (err == nil) != test.want || err != nil && !strings.Contains(err.Error(), "not Authorized") {
			t.Errorf("%s: have %v", name, err)
		}
		_ = d.Close()
	}
}

func TestMQTTSecure(t *testing.T) {
	dir := t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"ca.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ca := filepath.Join(dir, "ca.pem")
	b := newBroker(t, fmt.Sprintf("certfile %s\nkeyfile %s/key.pem", ca, dir))
	for name, test := range map[string]struct {
		tls  TLS
		want bool
	}{"trusted": {TLS{CA: ca}, true}, "unknown": {TLS{}, false}} {
		j := newJournal(t, "", "mqtt")
		d := newMQTT(t, MQTTConfig{Broker: "ssl://" + b.address(), TLS: test.tls}, j)
		if _, err := d.Send(t.Context(), nil); (err == nil) != test.want {
			t.Errorf("%s: have %v", name, err)
		}
		_ = d.Close()
	}
}

// BenchmarkMQTT publishes through a broker on the same machine.
func BenchmarkMQTT(b *testing.B) {
	path := os.Getenv("MVAG_BENCH_BROKER")
	if path == "" {
		b.Skip("set MVAG_BENCH_BROKER to tcp://HOST:PORT")
	}
	d, err := NewMQTT(MQTTConfig{Broker: path}, "bench")
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"id":"` + strings.Repeat("x", 2000) + `"}`)
	for b.Loop() {
		list := make([]Message, 64)
		for i := range list {
			list[i] = Message{Seq: uint64(i), Body: body}
		}
		if s, err := d.Send(b.Context(), list); err != nil || len(s.Done) != 64 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*64/b.Elapsed().Seconds(), "messages/s")
	_ = d.Close()
}

// TestMQTTThrowsOut has a broker that takes connections and ends them at the first message, as one does that finds the
// message too long or the client id used twice. That is said; the message stays pending.
func TestMQTTThrowsOut(t *testing.T) {
	j := newJournal(t, "", "mqtt")
	id := add(t, j, "gear", "S1")
	var log logs
	start(t, &Runner{Journal: j, To: "mqtt", Destination: newMQTT(t, MQTTConfig{Broker: "tcp://" + listen.Serve(t, throwOut), Client: "twice"}, j), Log: log.logger()})
	eventually(t, "said", func() bool {
		return strings.Contains(log.String(), `is \"twice\" the client id of another one too, or message `+id)
	})
	if j.Spooled("mqtt") != 1 {
		t.Error("the message is not pending")
	}
}
