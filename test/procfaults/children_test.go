package procfaults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/dtchttp"
	"github.com/dtc-project/dtc/test/internal/oracle"
	"github.com/dtc-project/dtc/wal"
)

// The participants. The last one is plain: it cannot list what it holds in doubt.
var services = [...]string{"stock", "payment", "plain"}

const plain = len(services) - 1

// roleEnv, if set, makes the test binary a participant, or a program with the library in
// it.
const roleEnv = "DTC_TEST_PROCFAULTS"

// role is what it says.
type role struct {
	Dir         string // of the databases
	Participant string // its name, or "": a coordinator
	Data        string // of the log
	Leak        bool   // the program takes more and more memory, until it has none
}

// The exit codes of the library's program are those of dtc.
const (
	exitFailed = 1
	exitInUse  = 4
)

func childMain() int {
	go func() { // nobody is left who would kill us
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	var r role
	err := json.Unmarshal([]byte(os.Getenv(roleEnv)), &r)
	if err == nil && r.Participant != "" {
		err = serveParticipant(r)
	} else if err == nil {
		err = serveLibrary(r)
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	if errors.As(err, new(*wal.InUseError)) {
		return exitInUse
	}
	return exitFailed
}

func participant(dir string, i int) (dtc.Participant, error) {
	db, err := oracle.Open(filepath.Join(dir, services[i]+".db"))
	if err != nil {
		return nil, err
	}
	g, err := oracle.NewGuard(db, services[i])
	if err != nil {
		return nil, err
	}
	if i == plain {
		return struct{ dtc.Participant }{g}, nil // hides InDoubt
	}
	return g, nil
}

func serveParticipant(r role) error {
	for i, name := range services {
		if name == r.Participant {
			p, err := participant(r.Dir, i)
			if err != nil {
				return err
			}
			return greetAndServe(dtchttp.NewParticipantHandler(p, nil), nil)
		}
	}
	return fmt.Errorf("no participant is called %q", r.Participant)
}

// serveLibrary is a program that has the coordinator and the participants in it.
func serveLibrary(r role) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	cfg := &dtc.Config{
		Timing: dtc.Timing{
			PrepareTimeout: 5 * time.Second, PrepareAttempt: 3 * time.Second,
			Backoff: 5 * time.Millisecond, FinishBackoffCap: 200 * time.Millisecond,
		},
		SweepInterval: 200 * time.Millisecond, Logger: log,
	}
	for i := range services {
		p, err := participant(r.Dir, i)
		if err != nil {
			return err
		}
		cfg.Participants = append(cfg.Participants, p)
	}
	// Small segments, so that the log needs new files and makes checkpoints all the time.
	l, err := wal.Open(r.Data, &wal.Options{SegmentSize: segmentSize, CheckpointAfter: 1})
	if err != nil {
		return err
	}
	c, err := dtc.OpenLog(l, cfg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if r.Leak {
		go leak()
	}
	control := dtchttp.NewControlHandler(&dtchttp.ControlOptions{Logger: log})
	control.Use(c)
	return greetAndServe(control, c)
}

const segmentSize = 16 << 10

// leak takes memory, and uses it.
func leak() {
	var all [][]byte
	for {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
		time.Sleep(10 * time.Millisecond)
		if len(all) == 1<<20 {
			return
		}
	}
}

func greetAndServe(h http.Handler, c *dtc.Coordinator) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	if c != nil {
		go closeAtSignal(s, c)
	}
	fmt.Printf("{\"url\":\"http://%s\"}\n", l.Addr())
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	select {} // closeAtSignal ends the process
}

// closeAtSignal ends the library's program in an orderly way.
func closeAtSignal(s *http.Server, c *dtc.Coordinator) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = s.Shutdown(ctx) // the clients are gone
	if err := c.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "close:", err)
		os.Exit(exitFailed)
	}
	os.Exit(0)
}
