package serving

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/test/internal/procs"
)

// A start, or a reading of the configuration, waits a moment for databases and goes on
// without those that do not answer. So a slow one is refused at one of some tries.
const tries = 10

// Refused wants a database to be refused with that remedy, by serve and by doctor, and
// without its password, which is "hunter2".
func Refused(t *testing.T, url, remedy string) {
	t.Helper()
	if !strings.Contains(url, "hunter2") {
		t.Fatal(url)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "dtc.yaml")
	if err := os.WriteFile(file, []byte(File("orders="+url)), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(args []string, code int, text string) {
		t.Helper()
		if code != 1 || !strings.Contains(text, remedy) || strings.Contains(text, "hunter2") {
			t.Errorf("dtc %v: exit code %d, want 1 and %q\n%s", args, code, remedy, text)
		}
	}
	args := []string{"serve", "--data", filepath.Join(dir, "log"), "--listen", "127.0.0.1:0", "-o", "json", "--config", file}
	for try := range tries {
		p := procs.Start(t, "dtc", exec.Command(Binary(t), args...))
		if p.URL == "" {
			check(args, p.Code(), p.Stderr())
			break
		}
		p.Kill()
		if try == tries-1 {
			t.Errorf("it is not refused: %s", p.Stderr())
		}
	}
	for _, args := range [][]string{
		{"doctor", "--config", file},
		{"doctor", "--participant", "orders=" + url},
		{"doctor", "-o", "json", "--config", file},
	} {
		cmd := exec.CommandContext(t.Context(), Binary(t), args...)
		out, _ := cmd.CombinedOutput() // how it ended is seen below
		check(args, cmd.ProcessState.ExitCode(), string(out))
	}
}

// Examined wants doctor to find nothing bad, and returns what it says.
func Examined(t *testing.T, url string) string {
	t.Helper()
	var found struct {
		Findings []struct{ About, Level, What, Advice string }
		Bad      int
	}
	out, err := exec.CommandContext(t.Context(), Binary(t), "doctor", "-o", "json", "--participant", "orders="+url).Output()
	if err != nil || json.Unmarshal(out, &found) != nil || found.Bad > 0 || len(found.Findings) == 0 || found.Findings[0].About != "database" {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	return string(out)
}

// Reloads: a new configuration with a database that cannot keep a vote is refused as a
// whole, with the remedy, and what was there holds on; until the database can. The
// participant "third" is that database.
func Reloads(t *testing.T, one, two *Bank, third, remedy string, mend func()) {
	p := Start(t, participants(one, two)...)
	p.Want("committed", payment("pay-1", one, two, 1))
	const refused, read = "the configuration was refused", "the configuration was read"
	ask := `{"branches":[{"participant":"third","payload":{"statements":[{"sql":"SELECT 1"}]}}]}`

	var said string
	for range tries {
		p.Configure("one="+one.URL, "third="+third) // and without the second
		if said = p.Hangup(refused, read); strings.Contains(said, refused) {
			break
		}
		p.Configure(participants(one, two)...)
		p.Hangup(read)
	}
	if !strings.Contains(said, refused) || !strings.Contains(said, remedy) || strings.Contains(said, "hunter2") {
		t.Fatalf("it should refuse with %q: %s", remedy, said)
	}
	p.Want("committed", payment("pay-2", one, two, 1)) // the second is still there
	if status, answer := p.Call("POST", "/v1/transactions", ask); status < 400 {
		t.Fatalf("it uses what it has refused: %d %s", status, answer)
	}
	mend()
	if said := p.Hangup(refused, read); !strings.Contains(said, read) {
		t.Fatalf("it should take the file now: %s", said)
	}
	p.Want("committed", ask)
	if status, answer := p.Call("POST", "/v1/transactions", payment("pay-3", one, two, 1)); status < 400 {
		t.Fatalf("it uses what was taken out: %d %s", status, answer)
	}
	balances(t, one, two, 98, 102)
	p.finish(one, two)
}
