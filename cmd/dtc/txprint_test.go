package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/dtc-project/dtc/dtchttp"
)

// TestTxPrintsStrangers: what clients and participants wrote neither moves the cursor nor
// adds a row, and runs nothing when what is advised is pasted into a shell.
func TestTxPrintsStrangers(t *testing.T) {
	evil := "x\x1b[2J\nroot\tok\u202e"
	doc := dtchttp.Transaction{
		ID: "$(touch${IFS}owned)'", XID: "dtc.x", State: "committing",
		Reason:   &dtchttp.Reason{Code: "vote_abort", Participant: "a", Message: evil},
		Branches: []dtchttp.TxBranch{{Participant: "a", State: "committing", LastError: evil, Attempts: 3}, {Participant: "b", State: "quarantined", LastError: evil}},
	}
	var list, show bytes.Buffer
	if err := txTable(&list, []dtchttp.Transaction{doc}, false, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := txPrint(&show, doc, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{list.String(), show.String()} {
		if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("it prints %q", text)
		}
	}
	if n := strings.Count(list.String(), "\n"); n != 2 {
		t.Errorf("%d lines for one transaction:\n%s", n, list.String())
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(show.String()) {
		at := strings.Index(line, "dtc tx ")
		if at < 0 || !strings.HasPrefix(line[at:], "dtc tx resolve") {
			continue
		}
		n++
		dir := t.TempDir()
		command, _, _ := strings.Cut(strings.TrimPrefix(line[at:], "dtc "), "committed|")
		cmd := exec.CommandContext(t.Context(), sh, "-c", "printf '%s\\n' "+command)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "\n"+doc.ID+"\n") {
			t.Errorf("%s: %v: %s", command, err, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "owned")); err == nil {
			t.Errorf("it ran: %s", command)
		}
	}
	if n != 2 {
		t.Errorf("%d commands are advised:\n%s", n, show.String())
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{"order-1": "order-1", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "~": "'~'", "a*": "'a*'", "ä": "'ä'"} {
		if got := shellWord(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

// TestTxAdvice: one sentence for each situation.
func TestTxAdvice(t *testing.T) {
	for name, tt := range map[string]struct {
		doc  dtchttp.Transaction
		want string
	}{
		"held":        {dtchttp.Transaction{ID: "t", State: "preparing", Held: true}, "dtc log release"},
		"quarantined": {dtchttp.Transaction{ID: "t", State: "heuristic", Branches: []dtchttp.TxBranch{{Participant: "a", State: "quarantined"}}}, "dtc tx resolve t a"},
		"heuristic":   {dtchttp.Transaction{ID: "t", State: "heuristic", Branches: []dtchttp.TxBranch{{Participant: "a", State: "heuristic_committed"}}}, "against the decision"},
		"down":        {dtchttp.Transaction{ID: "t", State: "committing", Branches: []dtchttp.TxBranch{{Participant: "a", State: "committing", LastError: "x"}}}, "dtc tx retry t"},
		"active":      {dtchttp.Transaction{ID: "t", State: "active"}, "It grows"},
		"no id":       {dtchttp.Transaction{XID: "dtc.x.1", State: "rolling_back", Branches: []dtchttp.TxBranch{{Participant: "a", State: "rolling_back", LastError: "x"}}}, "dtc tx retry dtc.x.1"},
	} {
		if got := txAdvice(tt.doc); len(got) != 1 || !strings.Contains(got[0], tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := txAdvice(dtchttp.Transaction{ID: "t", State: "committed", Branches: []dtchttp.TxBranch{{Participant: "a", State: "committed"}}}); len(got) != 0 {
		t.Errorf("nothing is to be done, and it says %q", got)
	}
}
