package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scaph/scaph/internal/snapshot"
)

// begin runs a server; end stops it and returns how long that took.
func begin(t *testing.T, o Options, former *Server) (s *Server, end func() time.Duration) {
	t.Helper()
	s, err := Listen(o, former)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() time.Duration {
		t.Helper()
		start := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop: %v", err)
		}
		return time.Since(start)
	}
}

func dial(t *testing.T, s *Server, send string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err == nil {
		_, err = io.WriteString(conn, send)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// scrape fetches a page over a connection of its own.
func scrape(t *testing.T, s *Server, path string) error {
	t.Helper()
	return scrapeAt(s.Addrs()[0].String(), path)
}

func scrapeAt(address, path string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get("http://" + address + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// keep makes a request over a connection and leaves it open.
func keep(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		err = errors.Join(err, response.Body.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// atOnce is less than the 5 s after which the server takes a silent client for one, and enough for a busy machine.
const atOnce = 3 * time.Second

// Whoever holds a connection and says nothing, or not all, does not delay the end: in net/http each of these does, by 5 s.
func TestSilentConnectionsDelayNobody(t *testing.T) {
	const head = "GET /metrics HTTP/1.1\r\nHost: x\r\n"
	for name, prepare := range map[string]func(*testing.T, *Server){
		"idle":           func(t *testing.T, s *Server) { dial(t, s, "") },
		"one byte":       func(t *testing.T, s *Server) { dial(t, s, "G") },
		"half a head":    func(t *testing.T, s *Server) { dial(t, s, head) },
		"kept":           func(t *testing.T, s *Server) { keep(t, dial(t, s, "")) },
		"kept, and more": func(t *testing.T, s *Server) { c := dial(t, s, ""); keep(t, c); fmt.Fprint(c, head) },
		"many": func(t *testing.T, s *Server) {
			for range 2 * maxConnections {
				dial(t, s, "G")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, end := begin(t, options(measured()), nil)
			prepare(t, s)
			if err := scrape(t, s, "/healthz"); err != nil { // it has met them all
				t.Fatal(err)
			}
			if took := end(); took > atOnce {
				t.Errorf("the stop took %v", took)
			}
		})
	}
}

// The same behind TLS, where a silent connection is one that does not shake hands.
func TestSilentConnectionsDelayNobodyWithTLS(t *testing.T) {
	o := options(measured())
	o.Config.Config = webConfigTLS(t)
	s, end := begin(t, o, nil)
	dial(t, s, "")
	dial(t, s, "\x16\x03\x01")
	for _, protocol := range []string{"http/1.1", "h2"} {
		secure, err := tls.Dial("tcp", s.Addrs()[0].String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = secure.Close() })
	}
	if took := end(); took > atOnce {
		t.Errorf("the stop took %v", took)
	}
}

func webConfigTLS(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"web.yaml": []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "web.yaml")
}

// A request that is under way is answered whole, though the server ends.
func TestRequestInFlightIsAnswered(t *testing.T) {
	source := &slow{snapshot: measured(), asked: make(chan struct{}), answer: make(chan struct{})}
	o := withSource(source)
	s, end := begin(t, o, nil)
	scraped := make(chan error, 1)
	go func() { scraped <- scrape(t, s, "/metrics") }()
	<-source.asked
	ended := make(chan time.Duration, 1)
	go func() { ended <- end() }()
	for { // until the stop has begun
		conn, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			break
		}
		conn.Close()
	}
	close(source.answer)
	if err := <-scraped; err != nil {
		t.Error(err)
	}
	<-ended
}

// slow is a Source whose Snapshot takes a while.
type slow struct {
	snapshot      *snapshot.Snapshot
	asked, answer chan struct{}
}

func (s *slow) Latest() *snapshot.Snapshot {
	select {
	case s.asked <- struct{}{}:
	case <-s.answer:
	}
	<-s.answer
	return s.snapshot
}

// However many connections others hold, a scraper gets its page, and the server has a bounded number of them.
func TestConnectionsAreBounded(t *testing.T) {
	s, end := begin(t, options(measured()), nil)
	for i := range 4 * maxConnections {
		switch i % 3 {
		case 0:
			dial(t, s, "")
		case 1:
			dial(t, s, "GET /metrics HTTP/1.1\r\n")
		case 2: // as a scraper that never reads
			dial(t, s, "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
		}
	}
	start := time.Now()
	if err := scrape(t, s, "/metrics"); err != nil {
		t.Errorf("among many connections: %v", err)
	}
	if took := time.Since(start); took > atOnce {
		t.Errorf("a scrape took %v", took)
	}
	s.connections.mu.Lock()
	open := len(s.connections.open)
	s.connections.mu.Unlock()
	if open > maxConnections {
		t.Errorf("%d connections are open", open)
	}
	end()
}

// A connection that a scraper keeps is not closed for others that are silent for longer.
func TestLongestSilentMakesRoom(t *testing.T) {
	s, end := begin(t, options(measured()), nil)
	first := dial(t, s, "")
	for range maxConnections - 2 {
		dial(t, s, "")
	}
	scraper := dial(t, s, "")
	keep(t, scraper) // all have been accepted by now
	dial(t, s, "")
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("the longest silent one: %v", err)
	}
	keep(t, scraper)
	end()
}

// A successor takes the address, or one that overlaps with it, while the former server runs; nobody is refused meanwhile.
func TestSuccessorTakesTheAddress(t *testing.T) {
	o := options(measured())
	former, end := begin(t, o, nil)
	_, port, err := net.SplitHostPort(former.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	for i, address := range []string{o.Listen[0], "127.0.0.1:" + port, ":" + port, "0.0.0.0:" + port, "localhost:" + port, "127.0.0.1:" + port} {
		o.Listen = []string{address}
		if i > 0 {
			if _, err := Listen(o, nil); err == nil {
				t.Errorf("%s: another process could take it", address)
			}
		}
		o.Config.Config = "/nonexistent"
		if _, err := Listen(o, former); err == nil {
			t.Error("a missing file is accepted")
		}
		o.Config.Config = ""
		refused, err := Listen(o, former) // and never run
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		if err := refused.Close(); err != nil {
			t.Error(err)
		}
		next, endNext := begin(t, o, former)
		if err := scrape(t, former, "/metrics"); err != nil {
			t.Errorf("%s: with both: %v", address, err)
		}
		end()
		if err := scrape(t, next, "/metrics"); err != nil {
			t.Errorf("%s: with the new one: %v", address, err)
		}
		former, end = next, endNext
	}
	end()
}

// What is wrong with an address is told with the key and what to do.
func TestAddressMessages(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	former, end := begin(t, options(measured()), nil)
	defer end()
	for address, want := range map[string]string{
		taken.Addr().String(): "already in use; stop what uses the address",
		"192.0.2.7:0":         "none of this host's",
		"[2001:db8::7]:0":     "web.listen",
	} {
		for _, running := range []*Server{nil, former} {
			o := options(nil)
			o.Listen, o.Logger = []string{address}, slog.New(slog.NewTextHandler(new(bytes.Buffer), nil))
			if _, err := Listen(o, running); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "web.listen "+address) {
				t.Errorf("%s: %v", address, err)
			}
		}
	}
}
