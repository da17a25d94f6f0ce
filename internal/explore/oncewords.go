package explore

import (
	"fmt"
	"strings"

	"github.com/dtc-project/dtc/internal/protocol"
)

var onceSentences = map[onceWhat]string{
	retire:        "the request never comes again, and its time is over",
	statementSync: "the operator's statement is durable",
	statementLost: "the log refuses the operator's statement",
	logBreaks:     "the log fails: what of its tail is durable, nobody knows",
	onceRestart:   "the coordinator is restarted",
	onceLeaves:    "the call leaves",
	onceWithdrawn: "the call is withdrawn",
	onceHangs:     "the call hangs",
	onceRetry:     "the retry is due",
	onceTimeout:   "the prepare timeout passes",
	onceCancel:    "the caller cancels",
	hearError:     "the call returns an error",
	hearNothing:   "the call ends without an answer",
	settleFails:   "the settle call ends without an answer",
	getOnePhase:   "the call of run %d arrives",
	voteNo:        "the work of run %d cannot be done",
	commitWork:    "the work of run %d is committed",
	proveWork:     "the evidence of run %d is written",
	getSettle:     "the settle call of run %d arrives",
	partyCrash:    "the participant crashes",
	raiseFence:    "other traffic raises the fence",
	raiseLow:      "other traffic raises low water",
	dropProof:     "the participant drops the evidence",
	dropSeals:     "the participant drops its seals",
}

// words says what a move is.
func (m onceMove) words() string {
	switch m.what {
	case askFor:
		if m.arg != 0 {
			return "a client begins the id, and its function fails"
		}
		return "a client asks for the id"
	case onceCrash:
		return fmt.Sprintf("the coordinator crashes; the log keeps %d records", m.arg)
	case hearVote:
		return fmt.Sprintf("the call returns: %v", protocol.Vote(m.arg))
	case hearSettled:
		return fmt.Sprintf("the settle call returns: %v", heard(m.arg).outcome())
	case hearEnded:
		return fmt.Sprintf("the settle call returns: ended, %v", heard(m.arg).outcome())
	case stateIt:
		return fmt.Sprintf("an operator states: %v", protocol.Outcome(m.arg))
	}
	sentence := onceSentences[m.what]
	if strings.Contains(sentence, "%d") {
		return fmt.Sprintf(sentence, m.run+1)
	}
	return sentence
}
