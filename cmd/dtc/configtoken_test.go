package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
)

// TestConfigToken: the line that is printed lets in who has the token that is
// printed.
func TestConfigToken(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out, complaints bytes.Buffer
		cmd := configTokenCommand()
		cmd.SetArgs([]string{"shop", "app", "participant:stock", "-o", format})
		cmd.SetOut(&out)
		cmd.SetErr(&complaints)
		if err := cmd.Execute(); err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(complaints.String())
		line, token := out.String(), ""
		if format == "json" {
			var doc struct{ Token, Line string }
			if err := json.Unmarshal(out.Bytes(), &doc); err != nil || len(words) != 0 {
				t.Fatalf("%v; standard error: %s", err, words)
			}
			line, token = doc.Line, doc.Token
		} else {
			token = words[len(words)-1]
		}
		if strings.Contains(line, token) {
			t.Errorf("the line for the file shows the token")
		}
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		tokens, err := access.OpenTokens(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		caller, err := access.Rules{Tokens: tokens}.Authenticate(&http.Request{Header: http.Header{"Authorization": {"Bearer " + token}}})
		if err != nil || caller.Name != "shop" || len(caller.Roles) != 2 || caller.Participant != "stock" {
			t.Errorf("%+v, %v", caller, err)
		}
	}
}

func TestConfigTokenRefuses(t *testing.T) {
	for _, args := range [][]string{{"shop"}, {"a b", "app"}, {"shop", "admin"}, {"shop", "app,app"}, {"shop", "app:x"}} {
		cmd := configTokenCommand()
		cmd.SetArgs(args)
		cmd.SetOut(new(bytes.Buffer))
		cmd.SetErr(new(bytes.Buffer))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.Execute(); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
