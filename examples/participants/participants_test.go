// Package participants_test runs the participants that people copy, as the processes
// that they are, and has them killed.
package participants_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/dtc-project/dtc/internal/conformance"
)

const token = "a-token-of-the-tests"

// example is one of the participants.
type example struct {
	name   string
	needs  string // a program that must be installed
	source string
	// command starts the participant in dir, where its source is.
	command func(dir string) []string
	token   bool
	// observe shows the effects; nil asks the participant itself.
	observe func(context.Context, *process) (string, error)
}

var examples = []example{
	{
		name: "python", needs: "python3", source: "python",
		command: func(dir string) []string { return []string{"python3", filepath.Join(dir, "participant.py")} },
		observe: lookIntoSQLite,
	},
	{
		name: "node", needs: "node", source: "node",
		command: func(dir string) []string { return []string{"node", filepath.Join(dir, "participant.mjs")} },
	},
	{
		name: "go", needs: "go", token: true,
		command: func(dir string) []string { return []string{filepath.Join(dir, "participant")} },
	},
}

// process is a running participant, which can be killed and started again on what
// it has made durable, at the same address.
type process struct {
	t    *testing.T
	e    example
	args []string
	data string
	url  string
	port string
	cmd  *exec.Cmd
	log  *os.File
}

// prepareSource puts what is to be run into a directory, with a text of it replaced
// by another.
func (e example) prepareSource(t *testing.T, from, to string) (dir string) {
	t.Helper()
	if _, err := exec.LookPath(e.needs); err != nil {
		t.Fatalf("%s is not in PATH, and this test runs a participant with it. On Debian: apt-get install %s", e.needs,
			map[string]string{"python3": "python3", "node": "nodejs", "go": "golang"}[e.needs])
	}
	dir = t.TempDir()
	if e.source == "" {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "participant"), "./go").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		return dir
	}
	files, err := os.ReadDir(e.source)
	if err != nil {
		t.Fatal(err)
	}
	found := from == ""
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(e.source, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if from != "" && strings.Contains(string(text), from) {
			found = true
			text = []byte(strings.Replace(string(text), from, to, 1))
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatalf("%q does not stand in %s any more", from, e.source)
	}
	return dir
}

func (e example) start(t *testing.T, source string) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{t: t, e: e, args: e.command(source), data: filepath.Join(dir, "stock.data"), port: "0"}
	var err error
	if p.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text, _ := os.ReadFile(p.log.Name())
			t.Logf("the last that the participant said: %s", text[max(len(text)-2000, 0):])
		}
		p.log.Close()
	})
	if err := p.run(); err != nil {
		t.Fatal(err)
	}
	return p
}

// run starts the process and waits until it says where it serves.
func (p *process) run() error {
	p.cmd = exec.Command(p.args[0], append(p.args[1:], p.data, p.port)...)
	p.cmd.Stderr = p.log
	if p.e.token {
		p.cmd.Env = append(os.Environ(), "DTC_TOKEN="+token)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if err != nil || !ok {
		return fmt.Errorf("it does not say where it serves, but %q: %w", line, errors.Join(err))
	}
	p.url = url
	p.port = strings.TrimSuffix(url[strings.LastIndex(url, ":")+1:], "/dtc")
	return nil
}

func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func (p *process) options() conformance.Options {
	o := conformance.Options{
		URL: p.url, Participant: "stock", Timeout: 60 * time.Second,
		Payload:      json.RawMessage(`{"item":"book","amount":2}`),
		AbortPayload: json.RawMessage(`{"item":"book","amount":1000000}`),
		Restart: func(context.Context) error {
			p.kill()
			return p.run()
		},
		Observe: func(ctx context.Context) (string, error) {
			if p.e.observe != nil {
				return p.e.observe(ctx, p)
			}
			return p.ask(ctx)
		},
	}
	if p.e.token {
		o.Authorize = func() (string, error) { return "Bearer " + token, nil }
	}
	return o
}

// ask asks the participant for its stock.
func (p *process) ask(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.url, "/dtc")+"/stock", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// lookIntoSQLite reads the stock past the participant.
func lookIntoSQLite(ctx context.Context, p *process) (string, error) {
	db, err := sql.Open("sqlite", "file:"+p.data+"?_pragma=busy_timeout(20000)")
	if err != nil {
		return "", err
	}
	defer db.Close()
	var available, reserved int
	err = db.QueryRowContext(ctx, `SELECT (SELECT sum(available) FROM stock),
		(SELECT coalesce(sum(amount), 0) FROM branch WHERE state = 'prepared')`).Scan(&available, &reserved)
	return fmt.Sprint(available, reserved), err
}

// TestParticipants: every case is tried on each, with real kills, and is ok.
func TestParticipants(t *testing.T) {
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			p := e.start(t, e.prepareSource(t, "", ""))
			report, err := conformance.Run(t.Context(), p.options())
			if err != nil {
				t.Fatal(err)
			}
			if !report.Listing {
				t.Error("it does not list")
			}
			for _, r := range report.Cases {
				// None of them votes read_only, and not all want a token.
				if r.Case == "read-only" || r.Case == "authorization" && !e.token {
					continue
				}
				if r.Verdict != conformance.OK || len(r.NotTried) > 0 {
					t.Errorf("%s: %s, not tried: %q", r.Case, r.Verdict, r.NotTried)
				}
				for _, f := range r.Findings {
					t.Errorf("\n  sent %s\n  got  %s\n  want %s", f.Sent, f.Got, f.Want)
				}
			}
		})
	}
}

// TestEveryLineCounts: an example that somebody copies without one of the things
// that look superfluous is caught.
func TestEveryLineCounts(t *testing.T) {
	for _, m := range []struct{ example, without, from, to, by string }{
		{"python", "a tombstone", `db.execute(add, [xid, *place(xid), want, None, None])`, `pass`, "rollback-first"},
		{"python", "404", `return 404, {"detail"`, `return 200, {"detail"`, "commit-unknown"},
		{"python", "the kept refusal", `if not state and not below:  # the first`, `if state != "prepared" and not below:  # the first`, "late-prepare"},
		{"python", "low water in prepare", `if not state and not below:  # the first`, `if not state:  # the first`, "low-water"},
		{"python", "numbers", "incarnation INTEGER NOT NULL,\n    seq         INTEGER NOT NULL\n", "incarnation TEXT NOT NULL,\n    seq         TEXT NOT NULL\n", "low-water-order"},
		{"python", "the state in dropping", ` AND state <> 'prepared'", place`, `", place`, "low-water-prepared"},
		{"python", "409", `(409, {"state": state}) if`, `(200, {}) if`, "rollback-after-commit"},
		{"python", "the state in the list", `log = ? AND state = 'prepared' AND`, `log = ? AND`, "in-doubt"},
		{"node", "a tombstone", `save({ row: { xid: q.xid, state: want } }); // a tombstone`, `// a tombstone`, "rollback-first"},
		{"node", "the file", `fs.writeSync(out, line)`, `line.length`, "restart"},
		{"node", "saved low water", `save({ low: q.low_water })`, `apply({ low: q.low_water })`, "restart-low-water"},
		{"node", "the first vote", `if (row) return [200, { vote: row.state`, `if (row?.state === "committed") return [200, { vote: row.state`, "prepare-repeat"},
		{"node", "a name as cursor", `page.at(-1).xid, complete`, `"x", complete`, "in-doubt-paging"},
		{"node", "a 400", `throw refuse(400, "want a JSON`, `throw refuse(undefined, "want a JSON`, "bad-json"},
	} {
		t.Run(m.example+" without "+m.without, func(t *testing.T) {
			t.Parallel()
			for _, e := range examples {
				if e.name != m.example {
					continue
				}
				p := e.start(t, e.prepareSource(t, m.from, m.to))
				o := p.options()
				o.Only = []string{m.by}
				report, err := conformance.Run(t.Context(), o)
				if err != nil || report.Failed != 1 {
					t.Errorf("%s does not see it: %v, %+v", m.by, err, report)
				}
			}
		})
	}
}
