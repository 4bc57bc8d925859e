package api

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certify writes a certificate of a name and its key.
func certify(t *testing.T, dir, name string) (certificate, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, data := range map[string][]byte{certificate: text, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return certificate, key, pool
}

// TestTLS reads the certificate again while the service runs.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certificate, key, pool := certify(t, dir, "one.example")
	s := listen(t, newFake(t), func(o *Options) { o.Certificate, o.Key, o.Token = certificate, key, secret })
	ask := func(name string, pool *x509.CertPool) error {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: name}, ForceAttemptHTTP2: true}}
		defer client.CloseIdleConnections()
		answer, err := client.Post("https://"+s.address+"/v1/session", "application/json", bytes.NewReader([]byte(`{"token":"`+secret+`"}`)))
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.ProtoMajor != 2 || answer.StatusCode != http.StatusNoContent || !answer.Cookies()[0].Secure {
			return fmt.Errorf("have %s, status %d, cookies %v", answer.Proto, answer.StatusCode, answer.Cookies())
		}
		return nil
	}
	if err := ask("one.example", pool); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(certificate, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.server.ReloadCertificate(); err == nil || !strings.Contains(err.Error(), certificate) {
		t.Errorf("have %v, want an error that names the file", err)
	}
	if err := ask("one.example", pool); err != nil {
		t.Errorf("the running certificate is gone: %v", err)
	}
	_, _, pool = certify(t, dir, "two.example")
	if err := s.server.ReloadCertificate(); err != nil {
		t.Fatal(err)
	}
	if err := ask("two.example", pool); err != nil {
		t.Error(err)
	}
	without := Defaults()
	without.Address, without.Certificate, without.Key = "127.0.0.1:0", certificate, "none.key"
	if _, err := NewServer(without); err == nil || err.Error() != "http.key: none.key: no such file or directory" {
		t.Errorf("without its key: have %v", err)
	}
	taken := Defaults()
	taken.Address = s.address
	if _, err := NewServer(taken); err == nil || err.Error() != "http.address: "+s.address+": address already in use" {
		t.Errorf("a taken address: have %v", err)
	}
}
