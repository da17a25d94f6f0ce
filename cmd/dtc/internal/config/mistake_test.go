package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMistakes: each with its line and, where somebody may have meant something else,
// that.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"listn: 127.0.0.1:1", `f.yaml:1: unknown key "listn", did you mean "listen"?`},
		{"\n# what\nprepare-timeout: 5s", `f.yaml:3: unknown key "prepare-timeout", did you mean "prepare_timeout"?`},
		{"tls_cert: x", `f.yaml:1: unknown key "tls_cert", did you mean "tls_cert_file"?`},
		{"participant: {}", `f.yaml:1: unknown key "participant", did you mean "participants"?`},
		{"zzzzzz: x", `f.yaml:1: unknown key "zzzzzz"`},
		{"<<: {data: x}", `f.yaml:1: unknown key "<<"`},
		{"data: a\ndata: b", `f.yaml:2: "data" stands twice: first in line 1`},
		{"data: [a]", `f.yaml:1: data must be a path, and is a list`},
		{"data: 5", `f.yaml:1: data must be a path, and is a number`},
		{"data:", `f.yaml:1: data must be a path, and is empty`},
		{"listen: 7420", `f.yaml:1: listen must be an address, as in 127.0.0.1:7420, and is a number ("7420")`},
		{"listen: localhost", `f.yaml:1: listen: "localhost" is no address: write HOST:PORT, as in 127.0.0.1:7420`},
		{"listen: 127.0.0.1:http", `f.yaml:1: listen: "127.0.0.1:http" is no address: write HOST:PORT, as in 127.0.0.1:7420`},
		{"listen: 127.0.0.1:65536", `f.yaml:1: listen: "127.0.0.1:65536" is no address: write HOST:PORT, as in 127.0.0.1:7420`},
		{"insecure: yes", `f.yaml:1: insecure must be true or false, and is a text ("yes")`},
		{"insecure: 1", `f.yaml:1: insecure must be true or false, and is a number ("1")`},
		{"prepare_timeout: 5", `f.yaml:1: prepare_timeout must be a duration, as in 5s or 250ms, and is a number ("5")`},
		{"prepare_timeout: 5x", `f.yaml:1: prepare_timeout: "5x" is no duration: write a number with its unit, as in 5s or 250ms`},
		{"prepare_timeout: -1s", `f.yaml:1: prepare_timeout: -1s is out of range: it must be between 1ms and 24h`},
		{"prepare_timeout: 0s", `f.yaml:1: prepare_timeout: 0s is out of range: it must be between 1ms and 24h`},
		{"tx_lifetime: 2h", `f.yaml:1: tx_lifetime: 2h is out of range: it must be between 1ms and 1h`},
		{"max_transactions: -1", `f.yaml:1: max_transactions: -1 is out of range: it must be between 2 and 100000000`},
		{"max_transactions: 1e3", `f.yaml:1: max_transactions must be a whole number, and is a number ("1e3")`},
		{"concurrency: 99999999999999999999", `f.yaml:1: concurrency must be a whole number, and is a number ("99999999999999999999")`},
		{"log_level: loud", `f.yaml:1: log_level: "loud" is none of debug, info, warn, error`},
		{"log_format: ''", `f.yaml:1: log_format: it is empty`},
		{`data: "a\0b"`, `f.yaml:1: data: there is a zero byte in it`},
		{"[a]", `f.yaml:1: the file must hold keys with values, as in 'key: value', and is a list`},
		{"data: a\n---\ndata: b", `f.yaml:2: there is a second document; write one`},
		{"data: a\n b: c", `f.yaml:2: this is no YAML: mapping values are not allowed in this context`},
		{"data: *a", `f.yaml: this is no YAML: unknown anchor 'a' referenced`},
		{"? [a]\n: b", `f.yaml:1: a key must be a word`},

		{"participants: []", `f.yaml:1: participants must hold keys with values, as in 'key: value', and is a list`},
		{"participants:\n  a:", `f.yaml:2: participant a must hold keys with values, as in 'key: value', and is empty
f.yaml:2: participant a has no url`},
		{"participants:\n  a: http://x", `f.yaml:2: participant a must hold keys with values, as in 'key: value', and is a text
f.yaml:2: participant a has no url`},
		{"participants:\n  a: {url: 'http://x'}\n  a: {url: 'http://y'}", `f.yaml:3: "a" stands twice: first in line 2`},
		{"participants:\n  a:\n    uri: http://x", `f.yaml:2: participant a has no url
f.yaml:3: participant a: unknown key "uri", did you mean "url"?`},
		{"participants:\n  a:\n    url: http://x\n    data: d", `f.yaml:4: participant a: unknown key "data"`},
		{"participants:\n  a:\n    url: http://x\n    backoff: 1", `f.yaml:4: backoff must be a duration, as in 5s or 250ms, and is a number ("1")`},
		{"participants:\n  a:\n    url: http://x\n    concurrency: 1", `f.yaml:4: participant a: concurrency: 1 is out of range: it must be between 2 and 100000`},
		{"participants:\n  a:\n    url: ftp://u:secret@x", `f.yaml:3: the URL of participant a must begin with http:// or https:// and a host; that of a database with postgres:// or mysql://`},
		{"participants:\n  a:\n    url: http://u:secret@x:y", `f.yaml:3: the URL of participant a cannot be read`},
		{"participants:\n  a:\n    url: http://u:secret@x?y", `f.yaml:3: the URL of participant a must end with its path: no query or fragment`},
		{"participants:\n  a:\n    url: http://u:secret@x\n    bearer_token_file: t", `f.yaml:3: the URL of participant a has credentials, and there is a bearer token as well`},
		{"participants:\n  a:\n    url: http://x\n    ca_file: c", `f.yaml:4: participant a has settings for TLS, and its url does not begin with https://`},
		{"participants:\n  a:\n    url: https://x\n    key_file: c", `f.yaml:4: participant a needs both, cert_file and key_file, or neither`},
		{"participants:\n  'a b':\n    url: https://x", "f.yaml:3: "},

		{"tls_cert_file: c", `f.yaml:1: tls_cert_file needs tls_key_file: a certificate is nothing without its key`},
		{"tls_key_file: c", `f.yaml:1: tls_key_file needs tls_cert_file`},
		{"tls_client_ca_file: c", `f.yaml:1: tls_client_ca_file needs tls_cert_file and tls_key_file: client certificates are shown over TLS only`},
		{"tls_client_ca_file: c\ntls_cert_file: c\ntls_key_file: k", `f.yaml:1: no client certificate has a role, so nobody could call: name them in the file, below certificates, or give tokens_file`},
		{"certificates:\n  shop: [app]", `f.yaml:2: certificates need tls_client_ca_file: without it no client certificate is asked for`},
		{"certificates:\n  shop: []", `f.yaml:2: certificate shop: want a role, or a list of roles as in [app, observer]`},
		{"certificates:\n  shop: [admin]", `f.yaml:2: certificate shop: `},
		{"certificates:\n  shop: {}", `f.yaml:2: certificate shop: want a role, or a list of roles as in [app, observer]`},
		{"listen: 0.0.0.0:1", `f.yaml:1: listen 0.0.0.0:1 can be reached from other machines, and there is no TLS (tls_cert_file, tls_key_file) and no authentication (tokens_file, or tls_client_ca_file with certificates): set that, or listen on 127.0.0.1, or take --insecure if the network is trusted`},
		{"listen: :1", `f.yaml:1: listen :1 can be reached`},
		{"listen: dtc.internal:1\ntokens_file: t", `f.yaml:1: listen dtc.internal:1 can be reached from other machines, and there is no TLS (`},
		{"listen: 0.0.0.0:1\ntls_cert_file: c\ntls_key_file: k", `f.yaml:1: listen 0.0.0.0:1 can be reached from other machines, and there is no authentication (`},
	} {
		_, err := (&Sources{File: "f.yaml"}).Parse([]byte(c.file))
		var mistakes Mistakes
		if !errors.As(err, &mistakes) {
			t.Errorf("%q: %v", c.file, err)
			continue
		}
		// What ends with a space or a bracket is a beginning.
		text, open := err.Error(), strings.HasSuffix(c.want, " ") || strings.HasSuffix(c.want, "(") || strings.HasSuffix(c.want, "reached")
		if text != c.want && !(open && strings.HasPrefix(text, c.want)) || strings.Contains(text, "secret") {
			t.Errorf("%q:\n got %s\nwant %s", c.file, text, c.want)
		}
	}
}

// TestAllMistakes are told at once, in order.
func TestAllMistakes(t *testing.T) {
	s := &Sources{
		File: "f.yaml", Environ: []string{"DTC_BACKOFF=1", "DTC_PARTICIPANT=a=http://x b"},
		Flags: map[string]string{"concurrency": "0"}, Participants: []string{"c=http://x", "c=http://y", "http://u:secret@h/?a=b"},
	}
	_, err := s.Parse([]byte("a: 1\ndata: x\nb: 2\nlisten: 5\n"))
	want := `--concurrency: 0 is out of range: it must be between 2 and 100000
--participant: participant "c" stands twice
--participant: write NAME=URL, as in inventory=http://127.0.0.1:8081
DTC_BACKOFF: "1" is no duration: write a number with its unit, as in 5s or 250ms
DTC_PARTICIPANT: write NAME=URL, as in inventory=http://127.0.0.1:8081
f.yaml:1: unknown key "a"
f.yaml:3: unknown key "b"
f.yaml:4: listen must be an address, as in 127.0.0.1:7420, and is a number ("5")`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// TestFilesAreLookedAt: a token, a certificate or an authority that is not there is a
// mistake in its line.
func TestFilesAreLookedAt(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f.yaml")
	file := `tokens_file: tokens
tls_cert_file: c
tls_key_file: k
participants:
  a:
    url: https://a
    bearer_token_file: token
    ca_file: ca
    cert_file: c
    key_file: k
`
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := (&Sources{File: path}).Load()
	var mistakes Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatal(err)
	}
	var lines []int
	for _, m := range mistakes {
		if m.File != path {
			t.Error(m)
		}
		lines = append(lines, m.Line)
	}
	if !slices.Equal(lines, []int{1, 2, 3, 7, 8, 9, 10}) {
		t.Error(err)
	}
	if _, err := (&Sources{File: filepath.Join(dir, "nope")}).Load(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzParse: no file makes it panic, and no error shows the password of a URL.
func FuzzParse(f *testing.F) {
	for _, file := range []string{
		"data: x\nparticipants: {a: {url: 'http://u:hunter2@h'}}", "a: &a [*a]", "a: &a {b: *a}\nparticipants: *a", "participants: &p\n  a: *p",
		"certificates: {a: [app]}", "!!binary x", "? {a: b}\n: c", "---\n---\n", "data: !!str 5", "participants: {a: {url: &u 'http://u:hunter2@h', server_name: *u}}",
	} {
		f.Add([]byte(file))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		c, err := (&Sources{File: "f"}).Parse(file)
		if err == nil {
			_ = c.Report().String()
			return
		}
		if c != nil || len(err.Error()) == 0 {
			t.Error("a configuration with an error, or an error without words")
		}
	})
}

// TestDatabaseMistakes: a database is not configured like a service, and its password
// stands in no mistake.
func TestDatabaseMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"url: 'postgres://u:hunter2@h/db', bearer_token_file: t":                  "participant orders is a database: it takes password_file",
		"url: 'postgres://u:hunter2@h/db', ca_file: c":                            "sslrootcert",
		"url: 'postgres://u:hunter2@h:port/db'":                                   "participant orders: its url cannot be read; write postgres://USER@HOST:PORT/DATABASE",
		"url: 'postgres://u:hunter2@h/db?sslmode=often'":                          "sslmode is invalid",
		"url: 'https://u:hunter2@h/', password_file: p":                           "password_file is for databases",
		"url: 'mysql://u:hunter2@h/db', ca_file: c":                               "ssl-mode, ssl-ca, ssl-cert, ssl-key",
		"url: 'mysql://u:hunter2@h/'":                                             "participant orders: its url cannot be used: it names no database",
		"url: 'mongodb://u:hunter2@h/'":                                           "http",
		"url: 'postgres://u:hunter2@h/db', concurrency: 0":                        "concurrency",
		"url: 'postgres://u:hunter2@h/db?sslrootcert=/nowhere&sslmode=verify-ca'": "/nowhere",
	} {
		_, err := (&Sources{File: "f"}).Parse([]byte("participants:\n  orders: {" + text + "}\n"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "f:2: ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	c, err := (&Sources{File: "f"}).Parse([]byte("participants:\n  orders: {url: 'postgres://u:hunter2@h/db?password=hunter2', password_file: p, prepare_timeout: 7s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Participants["orders"]
	if p.Database() != "postgres" || p.Address() != "postgres://h/db" || p.PasswordFile != "p" || p.Source().Conns != 64 || p.Source().Password == nil {
		t.Errorf("%+v", p)
	}
}
