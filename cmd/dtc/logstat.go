package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/txlog"
	"github.com/dtc-project/dtc/wal"
)

// statReport is what `dtc log stat -o json` prints.
type statReport struct {
	Dir             string            `json:"dir"`
	Log             string            `json:"log"`
	Segments        int               `json:"segments"`
	Bytes           int64             `json:"bytes"`
	Checkpoint      int64             `json:"checkpoint_bytes"`
	CheckpointTime  *time.Time        `json:"checkpoint_time,omitempty"`
	Clean           bool              `json:"clean"`
	Copied          bool              `json:"copied"`
	Unfinished      int               `json:"unfinished"`
	InDoubt         int               `json:"in_doubt"` // of them, without a decision
	Oldest          *time.Time        `json:"oldest_unfinished,omitempty"`
	Participants    []statParticipant `json:"participants"`
	Remembered      int               `json:"remembered"`
	RememberedSince *time.Time        `json:"remembered_since,omitempty"`
	Incarnations    int               `json:"incarnations"`
	Incarnation     string            `json:"incarnation"` // the newest
	Held            bool              `json:"held"`
	HoldThrough     uint32            `json:"hold_through,omitempty"`
	HoldSince       *time.Time        `json:"hold_since,omitempty"`
	HoldReason      string            `json:"hold_reason,omitempty"`
}

type statParticipant struct {
	Participant string `json:"participant"`
	Unfinished  int    `json:"unfinished"`
}

func logStatCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Count what the log holds: unfinished, in doubt, remembered, held",
		Long: `stat reads the log and counts. A transaction is unfinished until each of its
participants has answered; it is in doubt as long as the log holds no decision.`,
		Args: cobra.NoArgs,
	}
	data := dataFlag(cmd)
	output := outputFlag(cmd, "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, dir, err := openLog(*data)
		if err != nil {
			return err
		}
		s, err := count(r, dir)
		if err != nil {
			return advice(err)
		}
		s.Dir = dir
		if *output == "json" {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(s)
		}
		return s.print(cmd.OutOrStdout())
	}
	return cmd
}

// open is a transaction without its end.
type openTx struct {
	branches []txlog.Branch
	votes    []dtc.Vote // of a decision to commit
	resolved map[string]bool
	decided  bool
	begun    time.Time
}

// count counts what the log in a directory holds, which may be in use.
func count(r *wal.Reader, dir string) (s *statReport, err error) {
	err = steady(r, dir, func(r *wal.Reader) error {
		s, err = countOnce(r)
		return err
	})
	return s, err
}

func countOnce(r *wal.Reader) (*statReport, error) {
	files, err := r.Verify()
	if err != nil {
		return nil, err
	}
	s := &statReport{
		Log: r.ID().String(), Segments: files.Segments, Bytes: files.Bytes, Checkpoint: files.Checkpoint,
		Clean: files.Clean, Copied: files.Copied, Participants: []statParticipant{},
	}
	if files.Checkpoint > 0 {
		s.CheckpointTime = &files.CheckpointTime
	}
	open := map[txlog.Ref]*openTx{}
	known := map[[16]byte]bool{}
	ids := map[txlog.Ref][16]byte{}
	err = r.Replay(func(e txlog.Entry) error {
		switch rec := e.Record.(type) {
		case *txlog.Incarnation:
			s.Incarnations++
			s.Incarnation = rec.Incarnation.String()
		case *txlog.Prepare:
			open[rec.Ref] = &openTx{branches: rec.Branches, begun: e.Time}
			ids[rec.Ref] = txlog.KeyOf(rec.TxID)
		case *txlog.Commit:
			decide(open, rec.Ref)
			if t := open[rec.Ref]; t != nil {
				t.votes = rec.Votes
			}
		case *txlog.Resolution:
			if t := open[rec.Ref]; t != nil {
				t.resolve(rec.Participant)
			}
		case *txlog.Abort:
			decide(open, rec.Ref)
		case *txlog.End:
			known[ids[rec.Ref]] = true
			delete(open, rec.Ref)
			delete(ids, rec.Ref)
		case *txlog.Outcome:
			known[rec.Key] = true
		case *txlog.Horizon:
			s.RememberedSince = &rec.At
		case *txlog.Hold:
			if !s.Held {
				s.HoldSince = &e.Time
			}
			s.Held, s.HoldThrough, s.HoldReason = true, max(s.HoldThrough, rec.Through), rec.Reason
		case *txlog.Release:
			s.Held, s.HoldSince, s.HoldReason = false, nil, ""
		}
		return nil
	})
	s.Remembered = len(known)
	s.unfinished(open)
	if !s.Held {
		s.HoldThrough = 0
	}
	return s, err
}

func decide(open map[txlog.Ref]*openTx, ref txlog.Ref) {
	if t := open[ref]; t != nil {
		t.decided = true
	}
}

// waits reports whether the log says nothing yet of how its i-th branch ended: it may
// wait for us.
func (t *openTx) waits(i int) bool {
	readOnly := i < len(t.votes) && t.votes[i] == dtc.VoteReadOnly
	return !readOnly && !t.resolved[t.branches[i].Participant]
}

func (t *openTx) resolve(participant string) {
	if t.resolved == nil {
		t.resolved = map[string]bool{}
	}
	t.resolved[participant] = true
}

func (s *statReport) unfinished(open map[txlog.Ref]*openTx) {
	at := map[string]int{}
	for _, t := range open {
		s.Unfinished++
		if !t.decided {
			s.InDoubt++
		}
		if s.Oldest == nil || t.begun.Before(*s.Oldest) {
			s.Oldest = &t.begun
		}
		for i, b := range t.branches {
			if t.waits(i) {
				at[b.Participant]++
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(at)) {
		s.Participants = append(s.Participants, statParticipant{id, at[id]})
	}
}

func (s *statReport) print(out io.Writer) error {
	when := func(t *time.Time, none string) string {
		if t == nil {
			return none
		}
		return t.Local().Format(time.DateTime)
	}
	text := fmt.Sprintf("log           %s, in %s\nfiles         %d segments, %d bytes", s.Log, s.Dir, s.Segments, s.Bytes)
	if s.Checkpoint > 0 {
		text += fmt.Sprintf(", of which the checkpoint of %s has %d", when(s.CheckpointTime, ""), s.Checkpoint)
	}
	text += fmt.Sprintf("\nunfinished    %d, of which %d are in doubt", s.Unfinished, s.InDoubt)
	if s.Oldest != nil {
		text += "; the oldest was begun " + when(s.Oldest, "")
	}
	text += "\n"
	for _, p := range s.Participants {
		text += fmt.Sprintf("  at %s: %d\n", p.Participant, p.Unfinished)
	}
	text += fmt.Sprintf("remembered    %d outcomes, since %s\n", s.Remembered, when(s.RememberedSince, "the beginning"))
	text += fmt.Sprintf("incarnations  %d, the newest is %s\n", s.Incarnations, s.Incarnation)
	hold := "none"
	switch {
	case s.Held:
		hold = fmt.Sprintf("of the incarnations up to %d, since %s: %s\n              compare the participants with the log, then run 'dtc log release'",
			s.HoldThrough, when(s.HoldSince, ""), s.HoldReason)
	case s.Copied:
		hold = "none yet, but these files are copies: the next start begins one"
	}
	_, err := fmt.Fprintf(out, "%shold          %s\n", text, hold)
	return err
}
