package dtc_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/internal/vfs"
	"github.com/dtc-project/dtc/wal"
)

// TestBadRequests: a clear error, nothing begun, nobody called.
func TestBadRequests(t *testing.T) {
	list := services("a", "b")
	c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(list)})
	long := strings.Repeat("x", 129)
	for _, tt := range []struct {
		name     string
		id       dtc.TxID
		branches []dtc.Branch
		says     string
	}{
		{"no branches", "t", nil, "at least one branch"},
		{"twice the same participant", "t", branches("a", "b", "a"), "a is named twice"},
		{"twice among many", "t", branches("a", "b", "c", "d", "e", "f", "g", "h", "i", "a"), "a is named twice"},
		{"an unknown participant", "t", branches("a", "mailer"), "mailer is not registered; registered are: a, b"},
		{"a bad participant id", "t", branches("a", "no/slash"), `"no/slash"`},
		{"an empty id", "", branches("a"), "is empty"},
		{"a long id", dtc.TxID(long), branches("a"), "at most 128"},
		{"a space in the id", "order 42", branches("a"), "without spaces"},
		{"a control character in the id", "order\x00", branches("a"), "printable"},
		{"an id that is not UTF-8", "order\xff", branches("a"), "UTF-8"},
		{"a huge payload", "t", []dtc.Branch{{Participant: "a", Payload: make([]byte, dtc.MaxPayload+1)}}, "at most 262144"},
		{"too many branches", "t", make([]dtc.Branch, 1001), "at most 1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ok, err := c.Execute(t.Context(), tt.id, tt.branches...)
			if ok || !errors.Is(err, dtc.ErrBadRequest) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, %v; want an error that says %q", ok, err, tt.says)
			}
		})
	}
	if err := c.Run(t.Context(), "bad id", nil); !errors.Is(err, dtc.ErrBadRequest) {
		t.Errorf("Run: %v", err)
	}
	if err := c.RunWith(t.Context(), "t", &dtc.TxOptions{Lifetime: 2 * time.Hour}, nil); !errors.Is(err, dtc.ErrBadRequest) {
		t.Errorf("RunWith: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Execute(ended, "t", branches("a")...); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if s := c.Stats(); s.Begun != 0 || list[0].Counts().Calls != 0 {
		t.Errorf("something was begun: %+v", s)
	}
	closed(t, c)
	if _, err := c.Execute(t.Context(), "t", branches("a")...); !errors.Is(err, dtc.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := c.Register(list[0]); !errors.Is(err, dtc.ErrClosed) {
		t.Errorf("Register after Close: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]*dtc.Config{
		"no prepare function": {Participants: []dtc.Participant{dtc.ParticipantFuncs{ParticipantID: "a"}}},
		"a nil participant":   {Participants: []dtc.Participant{nil}},
		"a bad id":            {Participants: []dtc.Participant{voting("a b", dtc.VoteCommit, nil)}},
		"two of one id":       {Participants: []dtc.Participant{voting("a", 0, nil), voting("a", 0, nil)}},
		"a negative timeout":  {Timing: dtc.Timing{PrepareTimeout: -1}},
		"a life too long":     {TxLifetime: 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			if _, err := dtc.Open(dir, cfg); !errors.Is(err, dtc.ErrBadRequest) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("a log was made all the same")
			}
		})
	}
}

// TestBadDirectories: each is refused with an error that says what is wrong, and
// left as it was.
func TestBadDirectories(t *testing.T) {
	t.Run("in use", func(t *testing.T) {
		dir := t.TempDir()
		c, err := dtc.Open(dir, &dtc.Config{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, c)
		var inUse *wal.InUseError
		if _, err := dtc.Open(dir, nil); !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
			t.Errorf("a second Open: %v", err)
		}
		if err := c.Run(t.Context(), "t", func(context.Context, *dtc.Tx) error { return nil }); err != nil {
			t.Errorf("the first coordinator does not work any more: %v", err)
		}
	})
	t.Run("cannot be written", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(dir, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := dtc.Open(filepath.Join(dir, "log"), nil); err == nil {
			t.Error("a log below a file was opened")
		}
	})
	for name, bad := range map[string]struct {
		spoil func([]byte) []byte
		is    func(error) bool
	}{
		"a file that is no log": {
			func([]byte) []byte { return []byte("Dear diary, today I was a log file. " + strings.Repeat("x", 500)) },
			func(err error) bool { var foreign *wal.NotLogError; return errors.As(err, &foreign) },
		},
		"a log of a newer format": {
			func(b []byte) []byte { b[8]++; return b },
			func(err error) bool {
				var version *wal.VersionError
				return errors.As(err, &version) && version.Found == wal.Version+1
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c, err := dtc.Open(dir, &dtc.Config{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			closed(t, c)
			if err := os.Remove(filepath.Join(dir, "clean")); err != nil { // it would prove that this was a log
				t.Fatal(err)
			}
			for name, content := range contents(t, dir) {
				if strings.HasSuffix(name, ".seg") {
					if err := os.WriteFile(name, bad.spoil([]byte(content)), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			before := contents(t, dir)
			if _, err := dtc.Open(dir, nil); !bad.is(err) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want an error that names the file", err)
			}
			if after := contents(t, dir); !maps.Equal(before, after) {
				t.Error("the directory was changed")
			}
		})
	}
}

// TestRunWithoutAFunction: nothing is begun.
func TestRunWithoutAFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, vfs.NewMem(), &dtc.Config{})
		if err := c.Run(t.Context(), "t", nil); !errors.Is(err, dtc.ErrBadRequest) {
			t.Errorf("got %v", err)
		}
		if n := c.Stats().Begun; n != 0 {
			t.Errorf("%d begun", n)
		}
		closed(t, c)
	})
}

// TestPanics: a participant that panics aborts the transaction in phase one, and
// is called again in phase two.
func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var commits, rollbacks int
		p := dtc.ParticipantFuncs{
			ParticipantID: "p", InDoubtFunc: listsNothing,
			PrepareFunc: func(_ context.Context, b dtc.Branch) (dtc.Vote, error) {
				if b.TxID == "panics" {
					panic("oh no")
				}
				return dtc.VoteCommit, nil
			},
			CommitFunc: func(context.Context, dtc.Branch) error {
				if commits++; commits == 1 {
					panic("oh no")
				}
				return nil
			},
			RollbackFunc: func(context.Context, dtc.Branch) error {
				if rollbacks++; rollbacks == 1 {
					panic("oh no")
				}
				return nil
			},
		}
		c := open(t, vfs.NewMem(), &dtc.Config{Participants: []dtc.Participant{p}})
		_, err := c.Execute(t.Context(), "panics", branches("p")...)
		var rolled *dtc.RollbackError
		if !errors.As(err, &rolled) || rolled.Reason.Code != dtc.ReasonParticipantError || !strings.Contains(err.Error(), "oh no") {
			t.Errorf("got %v", err)
		}
		if ok, err := c.Execute(t.Context(), "t", branches("p")...); !ok {
			t.Error(err)
		}
		settle(t, c)
		closed(t, c)
		if commits != 2 {
			t.Errorf("%d commits", commits)
		}
		if rollbacks != 2 { // a prepare that panicked may have left something
			t.Errorf("%d rollbacks", rollbacks)
		}
	})
}

// contents returns the files of a directory by their paths, without the lock,
// which says who looked last.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(f) != "LOCK" {
			all[f] = string(b)
		}
	}
	return all
}

// TestIDLikeAnXID: nothing can take the name by which what the sweep finds is looked at and
// resolved. Those of another log are good names: of a coordinator above this one.
func TestIDLikeAnXID(t *testing.T) {
	c := open(t, vfs.NewMem(), &dtc.Config{Participants: participants(services("a"))})
	defer closed(t, c)
	x := dtc.XID{Log: c.ID(), Incarnation: dtc.Incarnation{Number: 1, Nonce: 7}, Seq: 3}
	for _, theirs := range []bool{false, true} {
		want := error(dtc.ErrBadRequest)
		if theirs {
			x.Log[0]++
			want = nil
		}
		id := dtc.TxID(x.String())
		_, err1 := c.Execute(t.Context(), id, branches("a")...)
		err2 := c.Run(t.Context(), id+"0", func(_ context.Context, tx *dtc.Tx) error { return tx.Enlist("a", nil) })
		_, _, err3 := c.Begin(id+"1", nil)
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", id, err, want)
			}
		}
	}
}
