package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/dtchttp"
)

// TestPrecedence: flags over environment over file over defaults, for every setting.
func TestPrecedence(t *testing.T) {
	values := map[kind][]string{
		path: {"/a", "/b", "/c"}, address: {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
		toggle: {"true", "false", "true"}, number: {"2", "3", "4"}, duration: {"2s", "3s", "4s"},
	}
	for _, s := range Settings {
		v := values[s.kind]
		if s.kind == word {
			v = []string{s.words[0], s.words[1], s.words[2]}
		}
		var got []string
		file := s.Name + ": " + v[0]
		env := append([]string{"X=y", s.Variable() + "=" + v[1]}, complete(s)...)
		flags := map[string]string{s.Name: v[2]}
		for _, src := range []*Sources{
			{File: "f", Environ: complete(s)},
			{File: "f", Environ: env},
			{File: "f", Environ: env, Flags: flags},
		} {
			c, err := src.Parse([]byte(file))
			if err != nil {
				t.Fatal(s.Name, err)
			}
			got = append(got, s.Text(c))
		}
		if !slices.Equal(got, v) {
			t.Errorf("%s: %q, want %q", s.Name, got, v)
		}
		c, err := (&Sources{Environ: []string{s.Variable() + "="}}).Parse(nil)
		if err != nil || s.Text(c) != s.Default() {
			t.Errorf("%s: an empty variable changes something: %v", s.Name, err)
		}
	}
}

// complete gives a setting what it cannot be without.
func complete(s *Setting) []string {
	all := map[string][]string{
		"tls_cert_file": {"DTC_TLS_KEY_FILE=k"}, "tls_key_file": {"DTC_TLS_CERT_FILE=c"},
		"tls_client_ca_file": {"DTC_TLS_KEY_FILE=k", "DTC_TLS_CERT_FILE=c", "DTC_TOKENS_FILE=t"},
	}
	return all[s.Name]
}

// TestParticipants: of the three sources, each as a whole, with the timing of all
// where they have none of their own.
func TestParticipants(t *testing.T) {
	file := `
prepare_timeout: 3s
participants:
  a: &a {url: 'https://u:secret@a/base', ca_file: ca, cert_file: /c, key_file: k, server_name: n, backoff: 7ms}
  b: {url: 'http://b', bearer_token_file: b.token, prepare_timeout: 9s}
  c: {url: 'http://c', bearer_token_file: c.token}
  d: {url: 'http://d', bearer_token_file: d.token}
`
	file = strings.Replace(file, "x-: &x\n", "", 1)
	src := &Sources{
		File: "/etc/dtc/f.yaml", Environ: []string{"DTC_PARTICIPANT=b=http://b2  c=http://c2"}, Participants: []string{"c=http://c3", "e=http://e?no"},
		Flags: map[string]string{"prepare_attempt": "2s"},
	}
	if _, err := src.Parse([]byte(file)); err == nil || !strings.Contains(err.Error(), "--participant: the URL of participant e must end with its path") {
		t.Error(err)
	}
	src.Participants[1] = "a=http://u:secret@:x"
	if _, err := src.Parse([]byte(file)); err == nil || err.Error() != "--participant: the URL of participant a cannot be read" {
		t.Error(err) // and not in the line of the file that says otherwise
	}
	src.Participants[1] = "e=http://e"
	c, err := src.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.IDs()); got != "[a b c d e]" {
		t.Error(got)
	}
	a := c.Participants["a"]
	if a.URL != "https://u:secret@a/base" || a.Address() != "https://a/base" || a.CAFile != "/etc/dtc/ca" || a.CertFile != "/c" || a.KeyFile != "/etc/dtc/k" || a.ServerName != "n" {
		t.Errorf("%+v", a)
	}
	if a.Timing.Backoff != 7*time.Millisecond || a.Timing.PrepareTimeout != 3*time.Second || a.Timing.PrepareAttempt != 2*time.Second || a.Timing.FinishAttempt != 10*time.Second {
		t.Errorf("%+v", a.Timing)
	}
	for id, url := range map[string]string{"b": "http://b2", "c": "http://c3", "d": "http://d", "e": "http://e"} {
		p := c.Participants[id]
		if p.URL != url || (p.BearerTokenFile != "") != (id == "d") || p.Timing.PrepareTimeout != 3*time.Second {
			t.Errorf("%s: %+v", id, p)
		}
	}
}

// TestCertificates have roles, in a word or a list.
func TestCertificates(t *testing.T) {
	file := "tls_client_ca_file: a\ntls_cert_file: c\ntls_key_file: k\ncertificates:\n  shop: app\n  'spiffe://x/y': [observer, 'participant:stock']\n"
	c, err := (&Sources{File: "f"}).Parse([]byte(file))
	want := map[string][]dtchttp.Role{"shop": {"app"}, "spiffe://x/y": {"observer", "participant:stock"}}
	if err != nil || !reflect.DeepEqual(c.Certificates, want) || !c.Auth() {
		t.Fatal(err, c)
	}
	other, err := (&Sources{File: "f"}).Parse([]byte(strings.Replace(file, "observer", "app", 1)))
	if err != nil || !slices.Equal(other.Restart(c), []string{"certificates"}) {
		t.Error(err, other.Restart(c))
	}
}

// TestAllowedToListen: this machine, or with TLS and authentication, or insecurely.
func TestAllowedToListen(t *testing.T) {
	for _, file := range []string{
		"", "# nothing", "---", "listen: 127.0.0.1:0", "listen: 127.3.2.1:1", "listen: '[::1]:1'", "listen: LocalHost:1",
		"listen: 0.0.0.0:1\ninsecure: true",
		"listen: 0.0.0.0:1\ntls_cert_file: c\ntls_key_file: k\ntokens_file: t",
		"listen: :1\ntls_cert_file: c\ntls_key_file: k\ntls_client_ca_file: a\ncertificates: {shop: app}",
	} {
		if _, err := (&Sources{File: "f"}).Parse([]byte(file)); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}

// TestRestart names what does not change while a server runs.
func TestRestart(t *testing.T) {
	parse := func(file string) *Config {
		c, err := (&Sources{File: "f"}).Parse([]byte(file))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := parse("data: x\nmax_connections: 5\nprepare_timeout: 1s\nparticipants: {a: {url: 'http://a'}}")
	b := parse("data: y\nlisten: 127.0.0.1:1\nprepare_timeout: 2s\nparticipants: {b: {url: 'http://b'}}")
	if got := fmt.Sprint(b.Restart(a)); got != "[data listen max_connections]" || b.Restart(b) != nil {
		t.Error(got)
	}
}

// TestReport: what is printed has no secret, and read again gives the same.
func TestReport(t *testing.T) {
	file := `
data: "dir: with # colon"
log_level: debug
completion_wait: 0s
tls_client_ca_file: a
tls_cert_file: c
tls_key_file: k
certificates: {shop: app, "x: y": [observer, 'participant:stock']}
participants:
  "1": {url: 'https://user:secret@a/base', ca_file: 'ca #1', cert_file: c, key_file: k, server_name: n, backoff: 1m30s}
  b: {url: 'http://b', bearer_token_file: b.token, concurrency: 2}
`
	src := &Sources{File: "/etc/f.yaml", Environ: []string{"DTC_LISTEN=127.0.0.1:9"}}
	c, err := src.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	text := c.Report().String()
	if strings.Contains(text, "secret") || strings.Contains(text, "user") || strings.Contains(fmt.Sprintf("%+v", c.Report()), "secret") {
		t.Error(text)
	}
	for _, want := range []string{"# DTC_LISTEN\n", "# /etc/f.yaml:2\n", "# default\n", "# /etc/f.yaml:10\n", "backoff: 1m30s\n", "credentials, which are not shown"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	again, err := (&Sources{File: "/etc/g.yaml"}).Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	p := c.Participants["1"]
	p.URL = p.Address()
	c.Participants["1"] = p
	c.places, again.places = nil, nil
	if !reflect.DeepEqual(c, again) {
		t.Errorf("%+v\n%+v", c, again)
	}
}

// TestNames: a setting is one name in three spellings, and explained.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Settings {
		if s.Name != strings.ToLower(s.Name) || strings.Contains(s.Name, "-") || s.Usage == "" || s.Switch() != (s.Arg == "") || seen[s.Name] {
			t.Errorf("%+v", s)
		}
		seen[s.Name] = true
		if d := s.Default(); d != "" && s.Check(d) != nil {
			t.Errorf("%s: its default is refused: %v", s.Name, s.Check(d))
		}
	}
	s := find("prepare_timeout")
	if s.Flag() != "prepare-timeout" || s.Variable() != "DTC_PREPARE_TIMEOUT" {
		t.Error(s.Flag(), s.Variable())
	}
}
