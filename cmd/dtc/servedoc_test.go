package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
)

// TestServeManual: it names every setting with its default and whether it is live, no
// other, and its file is understood.
func TestServeManual(t *testing.T) {
	noDTC(t)
	page, err := os.ReadFile("../../docs/operate/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	known := map[string]bool{}
	for _, s := range config.Settings {
		known[s.Name] = true
		line := regexp.MustCompile("(?m)^\\|[^|]*`" + s.Name + "`([ *,]*[^|]*)\\|([^|]*)\\|").FindStringSubmatch(text)
		if line == nil {
			t.Errorf("it does not explain %s", s.Name)
			continue
		}
		if got := strings.Trim(line[2], " `"); got != s.Default() {
			t.Errorf("%s: it says that the default is %q, which is %q", s.Name, got, s.Default())
		}
		if live := strings.Contains(line[1], "*"); live != s.Live {
			t.Errorf("%s: it says that live is %v", s.Name, live)
		}
	}
	table := text[strings.Index(text, "| key |"):strings.Index(text, "\\* changes")]
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)`").FindAllStringSubmatch(table, -1) {
		if !known[m[1]] {
			t.Errorf("it explains %s, which there is not", m[1])
		}
	}
	file := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(text)
	if file == nil {
		t.Fatal("it has no example of a file")
	}
	c, err := (&config.Sources{File: "dtc.yaml"}).Parse([]byte(file[1]))
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Participants["inventory"]; p.Timing.Concurrency != 200 || p.ServerName == "" || p.CAFile == "" || p.CertFile == "" || c.Participants["payment"].BearerTokenFile == "" || len(c.Certificates) != 3 {
		t.Errorf("the example does not show everything: %+v", c)
	}
}

// TestServeUnit: the unit of the manual starts what there is.
func TestServeUnit(t *testing.T) {
	page, err := os.ReadFile("../../docs/operate/serve.md")
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=\S+ (.*)$`).FindStringSubmatch(string(page))
	if start == nil {
		t.Fatal("there is no ExecStart")
	}
	file := filepath.Join(t.TempDir(), "dtc.yaml")
	put(t, file, "data: data\nlisten: 127.0.0.1:0\n")
	args := strings.Fields(strings.ReplaceAll(start[1], "/etc/dtc/dtc.yaml", file))
	r := launch(t, nil, args[1:]...)
	until(t, "the banner is there", func() bool { return strings.Contains(r.out.String(), "curl") })
	r.stop()
}
