package publish

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"mvag-torch/internal/atomicfile"
)

// Secret is a password or token in a file or a variable of the environment, so that no configuration has it.
type Secret struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
}

// Value reads the secret, "" where neither is set. Line feeds at the end of a file are no part of it.
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
	text, err := readFile(s.File)
	if err != nil {
		return "", err
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		return "", fmt.Errorf("%s: empty", s.File)
	}
	return value, nil
}

func readFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, atomicfile.Cause(err))
	}
	return text, nil
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
		text, err := readFile(t.CA)
		if err != nil {
			return nil, err
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
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", t.Cert, t.Key, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
