package explore

import (
	"fmt"

	"github.com/dtc-project/dtc/internal/protocol"
)

// words says what a move is.
func (m pairMove) words() string {
	of := fmt.Sprintf("of transaction %d at %c", m.run+1, 'A'+rune(m.at))
	switch m.what {
	case request:
		return fmt.Sprintf("a client asks for transaction %d", m.run+1)
	case syncLog:
		return "the log syncs"
	case giveUp:
		return fmt.Sprintf("the prepare timeout of transaction %d passes", m.run+1)
	case crashPair:
		return fmt.Sprintf("the coordinator crashes; the log keeps %d records", m.arg)
	case restore:
		return fmt.Sprintf("the coordinator crashes; the log is restored from a copy with %d records", m.arg)
	case expire:
		return fmt.Sprintf("the log drops transaction %d", m.run+1)
	case getPrepare:
		return fmt.Sprintf("the prepare %s arrives: %v", of, protocol.Vote(m.arg))
	case getCommit:
		return "the commit " + of + " arrives"
	case getRollback:
		return "the rollback " + of + " arrives"
	case getLowWater:
		return fmt.Sprintf("low water arrives at %c, above %s", 'A'+rune(m.at), pairNames[m.arg&3])
	case dropRow:
		return "the row " + of + " is dropped"
	case answerVote:
		return "the vote " + of + " comes back"
	case answerFinish, answerOrphan:
		return "the acknowledgement " + of + " comes back"
	case takeListing:
		return fmt.Sprintf("%c lists what it holds prepared", 'A'+rune(m.at))
	case lookUp:
		return fmt.Sprintf("the sweep looks up what %c listed", 'A'+rune(m.at))
	case finishByHand:
		return "an operator finishes the branch " + of + " as it was decided"
	case release:
		return "an operator releases the hold"
	}
	return ""
}

var pairNames = [...]string{"none", "transaction 1", "transaction 2", "both"}
