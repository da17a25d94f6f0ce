package access

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc/dtchttp"
)

func line(name, roles string) (token, line string) {
	token, hash := NewToken()
	return token, name + " " + roles + " " + hash + "\n"
}

func open(t testing.TB, log *lines, content string) (*Tokens, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, []byte(content))
	tokens, err := OpenTokens(path, log.log())
	if err != nil {
		t.Fatal(err)
	}
	return tokens, path
}

func TestTokens(t *testing.T) {
	shop, l1 := line("shop", "app,observer")
	stock, l2 := line("stock", "participant:inventory")
	any, l3 := line("any", "participant")
	ops, l4 := line("ops", "operator")
	renewed, l5 := line("shop", "app") // the same name once more
	tokens, _ := open(t, new(lines), "\ufeff# who may call\r\n\n  \t\n"+l1+"\t"+l2+l3+"   # indented\n"+strings.TrimSuffix(l4, "\n")+"\r\n"+l5)
	for _, c := range []struct {
		token string
		want  dtchttp.Caller
	}{
		{shop, dtchttp.Caller{Name: "shop", Roles: []dtchttp.Role{"app", "observer"}}},
		{stock, dtchttp.Caller{Name: "stock", Roles: []dtchttp.Role{"participant"}, Participant: "inventory"}},
		{any, dtchttp.Caller{Name: "any", Roles: []dtchttp.Role{"participant"}}},
		{ops, dtchttp.Caller{Name: "ops", Roles: []dtchttp.Role{"operator"}}},
		{renewed, dtchttp.Caller{Name: "shop", Roles: []dtchttp.Role{"app"}}},
	} {
		got, ok := tokens.find(c.token)
		if !ok || got.Name != c.want.Name || !slices.Equal(got.Roles, c.want.Roles) || got.Participant != c.want.Participant {
			t.Errorf("%+v, %v; want %+v", got, ok, c.want)
		}
	}
	_, hash := NewToken()
	for _, bad := range []string{"", "x", shop + "x", shop[:len(shop)-1], strings.ToUpper(shop), hash, "sha256:" + hash} {
		if got, ok := tokens.find(bad); ok || got.Name != "" {
			t.Errorf("%q is let in as %+v", bad, got)
		}
	}
	if tokens.Len() != 5 {
		t.Errorf("%d tokens", tokens.Len())
	}
}

// TestTokensFileMistakes: each says which line, and shows no word that could be a
// token.
func TestTokensFileMistakes(t *testing.T) {
	secret, good := line("shop", "app")
	hash := strings.Fields(good)[2]
	for content, want := range map[string]string{
		"":                       "holds no token",
		"# nothing\n\n":          "holds no token",
		good + "stock app\n":     "line 2: 2 words",
		"# x\n\nstock app a b\n": "line 3: 4 words",
		"stock admin " + hash:    "line 1: a role is",
		"stock app,,app " + hash: "line 1: a role is",
		"stock App " + hash:      "line 1: a role is",
		"stock app,app " + hash:  "line 1: the role app stands there twice",
		"stock participant:a,participant:b " + hash:        "line 1: the role participant stands there twice",
		"stock app:a " + hash:                              "line 1: only the role participant",
		"stock participant: " + hash:                       "line 1: only the role participant",
		"stock app " + secret:                              "line 1: the third word",
		secret + " app " + secret:                          "line 1: the third word",
		"stock " + secret + " " + hash:                     "line 1: a role is",
		hash + secret + secret + " app " + hash:            "line 1: a name is",
		"st\x00ck app " + hash:                             "line 1: a name is",
		"st\xffck app " + hash:                             "line 1: a name is",
		"stock app " + hash[:len(hash)-2]:                  "line 1: the third word",
		"stock app " + hash + "00":                         "line 1: the third word",
		"stock app " + strings.TrimPrefix(hash, "sha256:"): "line 1: the third word",
		"stock app md5:" + strings.Repeat("0", 64):         "line 1: the third word",
		good + good: "line 2: the same token stands on line 1",
		good + strings.Replace(good, "shop", "x", 1): "line 2: the same token stands on line 1",
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		write(t, path, []byte(content))
		_, err := OpenTokens(path, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v; want %s", content, err, want)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a token: %v", err)
		}
	}
}

// TestTokensFileOfOthers: who may write the file may do everything.
func TestTokensFileOfOthers(t *testing.T) {
	_, good := line("shop", "app")
	for mode, fine := range map[os.FileMode]bool{
		0o600: true, 0o640: true, 0o644: true, 0o400: true, 0o755: true,
		0o660: false, 0o602: false, 0o666: false, 0o646: false,
	} {
		path := filepath.Join(t.TempDir(), "tokens")
		write(t, path, []byte(good))
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := OpenTokens(path, slog.New(slog.DiscardHandler))
		if (err == nil) != fine || err != nil && !strings.Contains(err.Error(), "chmod go-w") {
			t.Errorf("%v: %v", mode, err)
		}
	}
	if _, err := OpenTokens(t.TempDir(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a directory is taken for a tokens file")
	}
	if _, err := OpenTokens(filepath.Join(t.TempDir(), "none"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no file is taken for a tokens file")
	}
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, []byte(strings.Repeat("#\n", maxFile/2)+good))
	if _, err := OpenTokens(path, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "4 MiB") {
		t.Errorf("a huge file: %v", err)
	}
}

// TestTokensFollowTheFile: a look is due after a second and not before, a bad file
// changes nothing and is told of once, and a good one counts again.
func TestTokensFollowTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, l1 := line("shop", "app")
		young, l2 := line("shop", "app")
		var log lines
		tokens, path := open(t, &log, l1)
		good := func(when, token string, want bool) {
			t.Helper()
			if _, ok := tokens.find(token); ok != want {
				t.Errorf("%s: let in: %v", when, ok)
			}
		}
		write(t, path, []byte(l1+l2))
		time.Sleep(lookEvery - time.Millisecond)
		good("too early", young, false)
		time.Sleep(time.Millisecond)
		good("in time", young, true)
		good("in time", old, true)
		for i, bad := range []func(){
			func() { write(t, path, []byte(l2+"x")) },
			func() { write(t, path, []byte("")) },
			func() { must(t, os.Chmod(path, 0o666)) },
			func() { must(t, os.Remove(path)) },
		} {
			bad()
			for range 5 {
				time.Sleep(lookEvery)
				good("a bad file", old, true)
				good("a bad file", young, true)
			}
			if log.errors() != i+1 {
				t.Errorf("bad file %d: the log was told %d times:\n%s", i, log.errors(), &log)
			}
		}
		write(t, path, []byte(l2))
		good("too early", old, true)
		time.Sleep(lookEvery)
		good("taken out", old, false)
		good("kept", young, true)
		// In place, with the same size and in the same moment: that has to be seen, too.
		must(t, os.WriteFile(path, []byte(l1), 0o600))
		time.Sleep(lookEvery)
		good("in place", old, true)
		good("in place", young, false)
		// Without waiting, if somebody says so.
		write(t, path, []byte(l2))
		must(t, tokens.Reload())
		good("reloaded", young, true)
		write(t, path, []byte("nonsense"))
		if err := tokens.Reload(); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("reloading nonsense: %v", err)
		}
		good("after nonsense", young, true)
		if text := log.String(); strings.Contains(text, old) || strings.Contains(text, young) {
			t.Error("the log shows a token")
		}
	})
}

// TestSettledFileIsNotRead: a file that was not touched for a while is only looked at.
func TestSettledFileIsNotRead(t *testing.T) {
	token, l := line("shop", "app")
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, []byte(l))
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(path, old, old))
	tokens, err := OpenTokens(path, slog.New(slog.DiscardHandler))
	must(t, err)
	reads := 0
	tokens.r.check = func(f os.FileInfo) error { reads++; return ownersOnly(f) }
	due := func() { tokens.r.looked.Store(0) }
	due()
	if _, ok := tokens.find(token); !ok || tokens.r.fresh || reads != 0 {
		t.Errorf("let in %v, fresh %v, read %d times", ok, tokens.r.fresh, reads)
	}
	// A file that was renamed into its place, as old and as long, is another one.
	young, l2 := line("shop", "app")
	write(t, path, []byte(l2))
	must(t, os.Chtimes(path, old, old))
	due()
	if _, ok := tokens.find(young); !ok || reads != 1 {
		t.Errorf("let in %v, read %d times", ok, reads)
	}
}

// TestClockSetBack: then it is time to look.
func TestClockSetBack(t *testing.T) {
	_, l1 := line("shop", "app")
	young, l2 := line("shop", "app")
	tokens, path := open(t, new(lines), l1)
	write(t, path, []byte(l2))
	tokens.r.looked.Store(time.Now().Add(time.Hour).UnixNano())
	if _, ok := tokens.find(young); !ok {
		t.Error("nobody looked")
	}
}

// TestTokensBesideEachOther: callers that come while the file is replaced find the
// old or the new one.
func TestTokensBesideEachOther(t *testing.T) {
	token, l1 := line("shop", "app")
	_, l2 := line("other", "app")
	tokens, path := open(t, new(lines), l1)
	stop := make(chan bool)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				tokens.r.looked.Store(0)
				if caller, ok := tokens.find(token); !ok || caller.Name != "shop" {
					t.Errorf("%+v, %v", caller, ok)
					return
				}
			}
		})
	}
	for i := range 50 {
		write(t, path, []byte(fmt.Sprintf("# %d\n", i)+l1+strings.Repeat(l2, i%2)))
		must(t, tokens.Reload())
	}
	close(stop)
	wg.Wait()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewToken(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token, hash := NewToken()
		if seen[token] || !strings.HasPrefix(token, "dtc_") || len(token) != 4+43 || len(hash) != 7+64 {
			t.Fatalf("%q %q", token, hash)
		}
		seen[token] = true
	}
}

// FuzzTokensFile: whatever stands in the file, what is taken from it is as the package
// says, and taken again from what it would be written as.
func FuzzTokensFile(f *testing.F) {
	_, l1 := line("shop", "app,participant:stock")
	_, l2 := line("ops", "operator,observer")
	for _, s := range []string{"", l1, l1 + l2, "# x\n" + l2, "a b c", l1 + l1, "\ufeff" + l1, strings.ReplaceAll(l1, " ", "\u00a0")} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, err := parseTokens(content)
		if (err == nil) != (len(entries) > 0) {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		var again strings.Builder
		for _, e := range entries {
			c := e.caller
			if CheckName(c.Name) != nil || len(c.Roles) == 0 || len(c.Roles) > 4 {
				t.Fatalf("%+v", c)
			}
			var roles []string
			for _, r := range c.Roles {
				if r == dtchttp.RoleParticipant && c.Participant != "" {
					r += dtchttp.Role(":" + c.Participant)
				}
				roles = append(roles, string(r))
			}
			fmt.Fprintf(&again, "%s %s sha256:%x\n", c.Name, strings.Join(roles, ","), e.hash)
		}
		if err != nil {
			return
		}
		back, err := parseTokens([]byte(again.String()))
		if err != nil || fmt.Sprint(back) != fmt.Sprint(entries) {
			t.Fatalf("%v\n%v\n%v", err, back, entries)
		}
	})
}
