package publish

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"mvag-torch/internal/atomicfile"
	"mvag-torch/internal/regularfile"
)

// Secret is a password or token in a file or a variable of the environment, so that no configuration has it.
type Secret struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
}

// largestSecret is the most bytes of the file of a secret, largestPEM of one of certificates.
const largestSecret, largestPEM = 64 << 10, 16 << 20

// Value reads the secret, a line of text, "" where neither is set. Line feeds at the end of a file are no part of it.
func (s Secret) Value() (string, error) {
	switch {
	case s.File != "" && s.Env != "":
		return "", fmt.Errorf("have file %q and env %q, want one of them", s.File, s.Env)
	case s.Env != "":
		value, ok := os.LookupEnv(s.Env)
		if !ok || value == "" {
			return "", fmt.Errorf("variable %q: not set", s.Env)
		}
		return value, nil
	case s.File == "":
		return "", nil
	}
	text, err := regularfile.Read(s.File, largestSecret)
	if err != nil {
		return "", named(s.File, err)
	}
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case value == "":
		return "", fmt.Errorf("%s: empty", s.File)
	case strings.ContainsAny(value, "\r\n\x00") || !utf8.ValidString(value):
		return "", fmt.Errorf("%s: have several lines or what is no text, want one line of UTF-8", s.File)
	}
	return value, nil
}

// named begins an error of a file with its name.
func named(path string, err error) error {
	if cause := atomicfile.Cause(err); cause != err {
		return fmt.Errorf("%s: %w", path, cause)
	}
	return err
}

// TLS names the files of a secure connection. Without any, the authorities of the system are trusted.
type TLS struct {
	CA   string `yaml:"ca"`   // certificates of the authorities to trust, PEM
	Cert string `yaml:"cert"` // certificate of this client and its key, PEM
	Key  string `yaml:"key"`
}

func (t TLS) config() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		text, err := regularfile.Read(t.CA, largestPEM)
		if err != nil {
			return nil, named(t.CA, err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: have no certificate, want PEM", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, fmt.Errorf("have cert %q and key %q, want both or none", t.Cert, t.Key)
	}
	if t.Cert != "" {
		pair, err := keyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// keyPair reads a certificate and its key. Errors name the files.
func keyPair(certificate, key string) (tls.Certificate, error) {
	var texts [2][]byte
	for i, path := range []string{certificate, key} {
		text, err := regularfile.Read(path, largestPEM)
		if err != nil {
			return tls.Certificate{}, named(path, err)
		}
		texts[i] = text
	}
	pair, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return pair, fmt.Errorf("%s, %s: %w", certificate, key, err)
	}
	return pair, nil
}
