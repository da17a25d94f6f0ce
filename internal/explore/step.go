package explore

import (
	"fmt"

	"github.com/dtc-project/dtc/internal/protocol"
)

// step makes one move in a world. It notes what is wrong with the result, and
// for a trace what happens.
type step struct {
	*world
	notes
	r       *Rules
	effects []protocol.Effect
}

func (s *step) in(w *world) { s.world = w }

// tell adds a line to the trace.
func (s *step) tell(line string) {
	if s.say != nil {
		s.say("  " + line)
	}
}

// tellOf adds a line that names a branch.
func (s *step) tellOf(i int, format string) {
	if s.say != nil {
		s.say("  " + fmt.Sprintf(format, s.name(i)))
	}
}

// make makes a move, and those that need not wait after it.
func (s *step) make(m move) {
	if s.say != nil {
		s.say(s.words(m))
	}
	s.act(m)
	s.settle()
	s.check()
}

func (s *step) act(m move) {
	i := int(m.branch)
	switch m.what {
	case begin:
		s.begin()
	case logSynced, logRefuses, logFails, truncate:
		s.logMove(m.what)
	case crash:
		if !s.r.reduces(uncounted) {
			s.crashes++
		}
		s.crash(m.arg)
	case restart:
		s.crash(s.unsynced)
	case replayed:
		s.replayed()
	case leave, withdraw, hung, retryDue, timedOut, cancelled:
		s.driverMove(m.what, i)
	case voted, acked, notKnown, endedOtherwise, noAnswerPrepare, noAnswerFinish:
		s.answered(m.what, i, protocol.Vote(m.arg))
	case takePrepare:
		s.takePrepare(i, protocol.Vote(m.arg))
	case takeCommit:
		s.takeCommit(i)
	case takeRollback:
		s.takeRollback(i)
	case takeLowWater:
		s.branch[i].lowWater = true
	case prune:
		s.branch[i].row = none
	case goCold:
		s.colds++
		s.branch[i].cold = true
	case warmUp:
		s.branch[i].cold = false
	case takeCold:
		s.answer(i, unknown)
	case runPrepare:
		s.runPrepare(i, protocol.Vote(m.arg))
	case runFinish:
		s.runFinish(i, m.arg != 0)
	case returns, returnsError, finishReturns:
		s.returned(m.what, i)
	case list:
		s.list(i)
	case look:
		s.look(i)
	case sweepAcked:
		s.sweepAcked(i)
	case otherTraffic:
		s.sendLowWater(i)
	}
}
