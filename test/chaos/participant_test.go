package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/guard"
	"github.com/dtc-project/dtc/test/internal/oracle"
)

// The participants. The last one is plain: it cannot list what it holds in doubt.
var services = [...]string{"stock", "payment", "plain"}

const plain = len(services) - 1

// part is what a participant is told in the environment.
type part struct {
	Dir, Name, Listen string
	Plain             bool
	Break             string // a deliberate bug
}

// The deliberate bugs of a participant, each of which must be found: a test that cannot
// fail shows nothing.
const (
	commitLost = "commit_lost" // one commit in four is acknowledged without effect
	voteLost   = "vote_lost"   // one vote in four is given without being stored
	forgets    = "forgets"     // what is prepared is gone after a restart
)

// participantMain serves a participant until the process is killed, or its parent is
// gone. The first line that it prints says where.
func participantMain() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "participant:", err)
		return 2
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	var o part
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		return fail(err)
	}
	db, err := oracle.Open(filepath.Join(o.Dir, o.Name+".db"))
	if err != nil {
		return fail(err)
	}
	g, err := oracle.NewGuard(db, o.Name)
	if err != nil {
		return fail(err)
	}
	p := dtc.Participant(g)
	switch o.Break {
	case commitLost:
		p = &losesCommits{Guard: g}
	case voteLost:
		p = &losesVotes{Guard: g}
	case forgets:
		if _, err := db.Exec("DELETE FROM token WHERE applied = 0; DELETE FROM dtc_guard_branch WHERE state = 'prepared'"); err != nil {
			return fail(err)
		}
	}
	if o.Plain {
		p = struct{ dtc.Participant }{p} // hides InDoubt
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fail(err)
	}
	fmt.Printf("{\"url\":\"http://%s\"}\n", l.Addr())
	s := &http.Server{Handler: dtchttp.NewParticipantHandler(p, nil), ReadHeaderTimeout: time.Minute}
	return fail(s.Serve(l))
}

type losesCommits struct {
	*guard.Guard
	calls atomic.Int64
}

func (p *losesCommits) Commit(ctx context.Context, b dtc.Branch) error {
	if p.calls.Add(1)%4 == 0 {
		return nil
	}
	return p.Guard.Commit(ctx, b)
}

type losesVotes struct {
	*guard.Guard
	calls atomic.Int64
}

func (p *losesVotes) Prepare(ctx context.Context, b dtc.Branch) (dtc.Vote, error) {
	if string(b.Payload) == string(oracle.Payload(oracle.Writes)) && p.calls.Add(1)%4 == 0 {
		return dtc.VoteCommit, nil
	}
	return p.Guard.Prepare(ctx, b)
}
