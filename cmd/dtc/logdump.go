package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dtc-project/dtc/cmd/dtc/internal/logview"
	"github.com/dtc-project/dtc/txlog"
)

// dumpLine is one record as `dtc log dump -o json` prints it.
type dumpLine struct {
	Position     uint64            `json:"position"`
	Time         time.Time         `json:"time"`
	Kind         string            `json:"kind"`
	Tx           string            `json:"tx,omitempty"`
	XID          string            `json:"xid,omitempty"`
	Incarnation  string            `json:"incarnation,omitempty"`
	Through      uint64            `json:"through,omitempty"`
	Participants []dumpParticipant `json:"participants,omitempty"`
	Fingerprint  string            `json:"fingerprint,omitempty"`
	Outcome      string            `json:"outcome,omitempty"`
	Participant  string            `json:"participant,omitempty"`
	Reason       string            `json:"reason,omitempty"` // the code of a rollback
	Message      string            `json:"message,omitempty"`
	Runs         []dumpRun         `json:"runs,omitempty"` // of sequences
	At           *time.Time        `json:"at,omitempty"`
	Key          string            `json:"key,omitempty"` // of the id, see txlog.KeyOf
}

type dumpRun struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

type dumpParticipant struct {
	Participant string `json:"participant"`
	Vote        string `json:"vote,omitempty"`
	Plain       bool   `json:"plain,omitempty"`
}

func logDumpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Print every record of the log",
		Long: `dump prints a line for each record: its position, when it was written, its kind,
the transaction and what is said of it. With -o json each line is an object.

A busy coordinator may take away what is not printed yet, when it makes a checkpoint:
then the dump ends in the middle, says so, and exits with 1. Run it again.`,
		Args: cobra.NoArgs,
	}
	data := dataFlag(cmd)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, _, err := openLog(*data)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(cmd.OutOrStdout())
		lines := json.NewEncoder(w)
		err = logview.Read(r, func(e logview.Entry) error {
			line := newDumpLine(e)
			if *output == "json" {
				return lines.Encode(line)
			}
			_, err := fmt.Fprintln(w, line)
			return err
		})
		// What is good before a damage is printed first.
		if flushed := w.Flush(); err == nil {
			err = flushed
		}
		return advice(err)
	}
	return cmd
}

func newDumpLine(e logview.Entry) dumpLine {
	l := dumpLine{
		Position: e.Position, Time: e.Time.UTC(), Kind: e.Record.Kind().String(), XID: e.XID.String(),
	}
	if e.Prepare != nil {
		l.Tx = e.Prepare.TxID
	}
	switch rec := e.Record.(type) {
	case *txlog.Incarnation:
		l.Incarnation, l.Through = rec.Incarnation.String(), rec.Through
	case *txlog.Block:
		l.Incarnation, l.Through = strconv.FormatUint(uint64(rec.Incarnation), 10), rec.Through
	case *txlog.Prepare:
		for _, b := range rec.Branches {
			l.Participants = append(l.Participants, dumpParticipant{Participant: b.Participant, Plain: b.Plain})
		}
		if rec.Fingerprint != ([16]byte{}) {
			l.Fingerprint = hex.EncodeToString(rec.Fingerprint[:])
		}
	case *txlog.Commit:
		for i, v := range rec.Votes {
			p := dumpParticipant{Vote: v.String()}
			if e.Prepare != nil && i < len(e.Prepare.Branches) {
				p.Participant = e.Prepare.Branches[i].Participant
			}
			l.Participants = append(l.Participants, p)
		}
	case *txlog.Abort:
		l.Reason, l.Participant, l.Message = rec.Reason.Code.String(), rec.Reason.Participant, rec.Reason.Message
	case *txlog.End:
		l.Outcome = rec.Outcome.String()
	case *txlog.Resolution:
		l.Participant, l.Outcome, l.Message = rec.Participant, rec.Outcome.String(), rec.Reason
	case *txlog.Logged:
		l.Incarnation = strconv.FormatUint(uint64(rec.Incarnation), 10)
		for _, run := range rec.Runs {
			l.Runs = append(l.Runs, dumpRun(run))
		}
	case *txlog.Horizon:
		l.At = &rec.At
	case *txlog.Outcome:
		l.Outcome, l.Key, l.At = rec.Outcome.String(), hex.EncodeToString(rec.Key[:]), &rec.At
		if rec.Code != 0 {
			l.Reason = rec.Code.String()
		}
	case *txlog.Hold:
		l.Incarnation, l.Message = strconv.FormatUint(uint64(rec.Through), 10), rec.Reason
	case *txlog.Release:
		l.Message = rec.Reason
	}
	return l
}

// String is the line for people.
func (l dumpLine) String() string {
	words := []string{fmt.Sprintf("%10d  %s  %-11s", l.Position, l.Time.Format("2006-01-02T15:04:05.000000Z"), l.Kind)}
	add := func(text string) {
		if text != "" {
			words = append(words, text)
		}
	}
	add(l.Tx)
	add(l.XID)
	switch l.Kind {
	case "incarnation", "block":
		add(fmt.Sprintf("%s, sequences up to %d", l.Incarnation, l.Through))
	case "logged":
		text := "in incarnation " + l.Incarnation + " sequences"
		for _, r := range l.Runs {
			text += fmt.Sprintf(" %d-%d", r.First, r.Last)
		}
		add(text)
	case "hold":
		add("of the incarnations up to " + l.Incarnation)
	case "horizon":
		add("every outcome after " + l.At.UTC().Format(time.RFC3339) + " is remembered")
	case "outcome":
		add(l.Key)
	}
	for _, p := range l.Participants {
		text := p.Participant
		if p.Vote != "" {
			text += "=" + p.Vote
		}
		if p.Plain {
			text += " (plain)"
		}
		add(text)
	}
	add(l.Reason)
	add(l.Participant)
	add(l.Outcome)
	if l.Message != "" {
		add(strconv.Quote(l.Message))
	}
	return strings.TrimRight(strings.Join(words, " "), " ")
}
