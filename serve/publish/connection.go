package publish

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	socks "golang.org/x/net/proxy"
)

// largestPacket is the most bytes of a packet of a broker. A request has images, in base64.
const largestPacket = 128 << 20

// connect opens a connection to a broker as the client would, but one that ends where the broker sends what it must not
// ([brokerConn]).
func connect(broker *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
	var c net.Conn
	var err error
	if broker.Scheme == "ws" || broker.Scheme == "wss" {
		c, err = mqtt.NewWebsocket(broker.String(), o.TLSConfig, o.ConnectTimeout, o.HTTPHeaders, o.WebsocketOptions)
	} else {
		c, err = socks.FromEnvironmentUsing(o.Dialer).Dial("tcp", broker.Host)
	}
	if err != nil {
		return nil, err
	}
	switch broker.Scheme {
	case "ssl", "tls", "mqtts":
		if c, err = secure(c, broker.Hostname(), o); err != nil {
			return nil, err
		}
	}
	return &brokerConn{Conn: c, from: bufio.NewReader(c)}, nil
}

// secure begins TLS on a connection, which it closes where that fails.
func secure(c net.Conn, host string, o mqtt.ClientOptions) (net.Conn, error) {
	security := o.TLSConfig.Clone()
	security.ServerName = host
	ctx, over := context.WithTimeout(context.Background(), o.ConnectTimeout)
	defer over()
	secured := tls.Client(c, security)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return secured, nil
}

// brokerConn looks at the head of each packet before the client does, which allocates what a packet announces, and which a
// confirmation of more subscriptions than it has made would end with a panic. A packet that is refused is an error of Read.
type brokerConn struct {
	net.Conn
	from *bufio.Reader
	head []byte // read, but not yet handed over
	body int64  // bytes of the packet that are still to be read
}

// The kinds of packets that are looked at, and the bytes of those.
const (
	connack = 2 << 4
	suback  = 9 << 4

	connackBytes = 2 // flags and a code
	subackBytes  = 3 // a number and a code: subscriptions are made one by one
)

func (c *brokerConn) Read(p []byte) (n int, err error) {
	if len(c.head) == 0 && c.body == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n = copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err = c.from.Read(p[:min(int64(len(p)), c.body)])
	c.body -= int64(n)
	return n, err
}

// next reads the head of a packet: a byte with its kind, and one to four with its length, seven bits each.
func (c *brokerConn) next() error {
	kind, err := c.from.ReadByte()
	if err != nil {
		return err
	}
	c.head = append(c.head[:0], kind)
	for more := true; more; {
		if len(c.head) > 4 {
			return errors.New("the broker sends what is not MQTT")
		}
		b, err := c.from.ReadByte()
		if err != nil {
			return err
		}
		c.body |= int64(b&0x7f) << (7 * (len(c.head) - 1))
		c.head, more = append(c.head, b), b >= 0x80
	}
	want := int64(0)
	switch kind & 0xf0 {
	case connack:
		want = connackBytes
	case suback:
		want = subackBytes
	}
	switch {
	case want != 0 && c.body != want:
		return fmt.Errorf("the broker answers in %d bytes, want %d", c.body, want)
	case c.body > largestPacket:
		return fmt.Errorf("the broker sends a message of %d bytes, want at most %d", c.body, largestPacket)
	}
	return nil
}
