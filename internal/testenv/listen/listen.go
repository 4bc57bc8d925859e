// Package listen answers connections in tests. It is apart from package testenv, whose other users then have no part of
// package net and are linked without the C library: the tests of package atomicfile need that, since the system calls
// that they let fail would be those of its loader, too.
package listen

import (
	"net"
	"testing"
)

// Serve listens and calls answer with each connection, which it closes then.
func Serve(t testing.TB, answer func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
	return l.Addr().String()
}

// Free returns a port that nothing listens at.
func Free(t testing.TB) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(l.Addr())
	}
	return at.Port
}
