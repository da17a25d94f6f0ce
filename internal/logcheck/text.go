package logcheck

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

const (
	voteAbort    = 0
	voteReadOnly = 2

	unknown    = 0
	committed  = 1
	rolledBack = 2
	heuristic  = 3

	noReason = 0
	maxCode  = 9
)

var (
	voteWords    = [...]string{"vote_abort", "vote_commit", "read_only"}
	outcomeWords = [...]string{"unknown", "committed", "rolled_back", "heuristic"}
	codeWords    = [...]string{
		"no_reason", "vote_abort", "prepare_timeout", "unreachable", "participant_error",
		"cancelled", "deadline", "shutting_down", "recovered", "forced",
	}
	kindWords = [...]string{
		Incarnation: "incarnation", Block: "block", Prepare: "prepare", Commit: "commit", Abort: "abort", End: "end",
		Resolution: "resolution", Logged: "logged", Horizon: "horizon", Outcome: "outcome", Hold: "hold", Release: "release",
		OnePhase: "one_phase",
	}
)

// String returns the record as one line. Two records have the same line only if
// they are the same.
func (r *Record) String() string {
	ref := fmt.Sprintf("%d.%d", r.Number, r.Seq)
	var words []string
	switch r.Kind {
	case Incarnation:
		words = []string{fmt.Sprintf("%d-%08x", r.Number, r.Nonce), fmt.Sprintf("through %d", r.Through)}
	case Block:
		words = []string{strconv.FormatUint(uint64(r.Number), 10), fmt.Sprintf("through %d", r.Through)}
	case Prepare, OnePhase:
		words = []string{ref, strconv.Quote(r.Tx), "fp=" + hex.EncodeToString(r.Fingerprint[:])}
		for _, b := range r.Branches {
			word := strconv.Quote(b.Participant)
			if b.Plain {
				word += " plain"
			}
			words = append(words, "["+word+"]")
		}
	case Commit:
		words = []string{ref}
		for _, v := range r.Votes {
			words = append(words, voteWords[v])
		}
	case Abort:
		words = []string{ref, codeWords[r.Code], strconv.Quote(r.Participant), strconv.Quote(r.Text)}
	case End:
		words = []string{ref, outcomeWords[r.Outcome]}
	case Resolution:
		words = []string{ref, strconv.Quote(r.Participant), outcomeWords[r.Outcome], strconv.Quote(r.Text)}
	case Logged:
		words = []string{strconv.FormatUint(uint64(r.Number), 10)}
		for _, run := range r.Runs {
			words = append(words, fmt.Sprintf("%d-%d", run.First, run.Last))
		}
	case Horizon:
		words = []string{strconv.FormatInt(r.Time, 10)}
	case Outcome:
		words = []string{
			ref, "key=" + hex.EncodeToString(r.Key[:]), "fp=" + hex.EncodeToString(r.Fingerprint[:]),
			outcomeWords[r.Outcome], codeWords[r.Code], strconv.FormatInt(r.Time, 10),
		}
	case Hold:
		words = []string{fmt.Sprintf("through %d", r.Number), strconv.Quote(r.Text)}
	case Release:
		words = []string{strconv.Quote(r.Text)}
	}
	if int(r.Kind) >= len(kindWords) {
		return fmt.Sprintf("kind %d", r.Kind)
	}
	return kindWords[r.Kind] + " " + strings.Join(words, " ")
}
