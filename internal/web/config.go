package web

import (
	"net"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Config is the section of the configuration.
type Config struct {
	Listen []string `mapstructure:"listen" allowed:"a list of address:port, none part of another, such as [\"127.0.0.1:8080\", \"[::1]:8080\"] or [\":8080\"]; [] for none"`
	// Config is the file that sets up TLS and basic authentication; see
	// https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
	Config string `mapstructure:"config" allowed:"empty, or the absolute path of a web configuration file"`
	Pprof  bool   `mapstructure:"pprof" scope:"host" allowed:"true or false"`
}

// Default returns the section with its defaults.
func Default() *Config { return &Config{Listen: []string{"127.0.0.1:8080"}} }

// Check calls bad with the name of each key whose value is not allowed.
func (c *Config) Check(bad func(key string)) {
	for i, address := range c.Listen {
		other := func(other string) bool { return other == address || overlap(literal(other), literal(address)) }
		if !isAddress(address) || slices.ContainsFunc(c.Listen[:i], other) {
			bad("listen")
			break
		}
	}
	if c.Config != "" && !filepath.IsAbs(c.Config) {
		bad("config")
	}
}

// isAddress reports whether s is host:port with a port number; the host may be empty (all addresses).
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// literal returns the TCP address that is written in s, nil for one that is a name or has the port 0, which is any.
func literal(s string) net.Addr {
	host, portText, err := net.SplitHostPort(s)
	port, _ := strconv.Atoi(portText)
	ip := net.ParseIP(host)
	if host == "" {
		ip = net.IPv6unspecified
	}
	if err != nil || port == 0 || ip == nil {
		return nil
	}
	return &net.TCPAddr{IP: ip, Port: port}
}

// ValidPath reports whether a page can be served at the URL path p: it must not hide one of the server's own, nor be a
// pattern of the multiplexer.
func ValidPath(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && !slices.Contains([]string{"/", "/healthz", "/readyz"}, p) &&
		!strings.HasPrefix(p+"/", pprofPath) &&
		!strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("{}?#%", r) })
}
