package histories

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/sim"
)

// Times are in seconds.
func at(n int) time.Duration { return time.Duration(n) * time.Second }

func run(request, from, to int, a sim.Answer) sim.Op {
	return sim.Op{Kind: sim.OpExecute, ID: "a", Request: request, Call: at(from), Return: at(to), Answer: a}
}

func reads(op sim.Op) sim.Op { op.ReadOnly = true; return op }

func steps(op sim.Op) sim.Op { op.Grown, op.Steps = true, true; return op }

func grown(op sim.Op) sim.Op { op.Grown = true; return op }

func of(id string, op sim.Op) sim.Op { op.ID = id; return op }

func lost(request, from int) sim.Op {
	return sim.Op{Kind: sim.OpExecute, ID: "a", Request: request, Call: at(from), Return: -1}
}

func ask(from, to int, a sim.Answer) sim.Op {
	return sim.Op{Kind: sim.OpOutcome, ID: "a", Call: at(from), Return: at(to), Answer: a}
}

func event(k sim.OpKind, n int) sim.Op { return sim.Op{Kind: k, Call: at(n)} }

func power(n int) sim.Op  { return event(sim.OpPowerLost, n) }
func killed(n int) sim.Op { return event(sim.OpKilled, n) }
func closed(n int) sim.Op { return event(sim.OpClosed, n) }
func opened(n int) sim.Op { return event(sim.OpReopened, n) }

type rule struct {
	rule      string
	params    Params
	good, bad [][]sim.Op
}

// Each rule has histories that keep it and histories that break it.
var rules = []rule{
	{
		rule: "a second execute of the same request gets the outcome of the first",
		good: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), run(0, 2, 3, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), run(0, 2, 3, sim.RolledBack)},
			{run(0, 0, 3, sim.Committed), run(0, 1, 2, sim.Committed)},
			{run(0, 0, 1, sim.Refused), run(0, 2, 3, sim.Committed)},
			{run(0, 0, 2, sim.Refused), run(0, 1, 3, sim.Committed)},
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), run(0, 2, 3, sim.RolledBack)},
			{run(0, 0, 1, sim.RolledBack), run(0, 2, 3, sim.Committed)},
			{run(0, 0, 3, sim.Committed), run(0, 1, 2, sim.RolledBack)},                              // two that joined
			{run(0, 0, 9, sim.Committed), run(0, 0, 9, sim.Committed), run(0, 1, 2, sim.RolledBack)}, // three
			{run(0, 0, 1, sim.NotKnown)},
			{run(0, 0, 1, sim.Unfinished)},
		},
	},
	{
		rule: "another request under an id that runs or is remembered is a conflict",
		good: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), run(1, 2, 3, sim.Conflict)},
			{run(0, 0, 1, sim.RolledBack), run(1, 2, 3, sim.Conflict), run(0, 4, 5, sim.RolledBack)},
			{run(0, 0, 5, sim.Committed), run(1, 1, 2, sim.Conflict), ask(3, 4, sim.Unfinished)},
			{run(0, 0, 5, sim.Refused), run(1, 1, 2, sim.Conflict)}, // it ran until it was refused
			{lost(0, 0), run(1, 1, 2, sim.Conflict)},
			{run(0, 0, 5, sim.Committed), run(1, 0, 5, sim.Conflict)},
			{lost(0, 0), run(1, 1, 2, sim.Committed)}, // the first never came, or came after it
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), run(1, 2, 3, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), run(1, 2, 3, sim.Committed)},
			{run(0, 0, 5, sim.Committed), run(1, 1, 2, sim.Committed)},
			{run(1, 0, 1, sim.Conflict)}, // with nobody
			{run(0, 0, 1, sim.Committed), run(0, 2, 3, sim.Conflict)},
			{run(0, 0, 1, sim.Refused), run(1, 2, 3, sim.Conflict)},
			{run(1, 0, 1, sim.Conflict), run(0, 2, 3, sim.Committed)},
			{run(0, 0, 1, sim.Committed), run(1, 2, 3, sim.Conflict), power(4), run(1, 5, 6, sim.Committed)},
		},
	},
	{
		rule: "committed is remembered through every crash",
		good: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), power(2), run(0, 3, 4, sim.Committed)},
			{run(0, 0, 1, sim.Committed), killed(2), power(3), opened(4), ask(5, 6, sim.Committed)},
			{run(0, 0, 1, sim.Committed), power(2), run(1, 3, 4, sim.Conflict)},
			{lost(0, 0), ask(1, 2, sim.Unfinished), power(2), ask(3, 4, sim.Committed)},
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), power(2), ask(3, 4, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), killed(2), ask(3, 4, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), power(2), ask(3, 4, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), power(2), ask(3, 4, sim.Unfinished)},
			{run(0, 0, 1, sim.Committed), power(2), run(0, 3, 4, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), power(2), run(1, 3, 4, sim.Committed)},
			{run(0, 0, 2, sim.Committed), power(2), ask(3, 4, sim.NotKnown)}, // told in the moment in which it died
			{lost(0, 0), ask(1, 2, sim.Committed), killed(3), ask(4, 5, sim.RolledBack)},
			{lost(0, 0), power(1), ask(2, 3, sim.Committed), power(4), ask(5, 6, sim.NotKnown)},
		},
	},
	{
		rule: "rolled back may be lost in a crash, and then the id is a new one; never without one",
		good: [][]sim.Op{
			{run(0, 0, 1, sim.RolledBack), power(2), ask(3, 4, sim.NotKnown), run(0, 5, 6, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), killed(2), run(1, 3, 4, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), power(2), ask(3, 4, sim.RolledBack)},
			{run(0, 0, 1, sim.RolledBack), power(2), ask(3, 4, sim.Unfinished), ask(5, 6, sim.RolledBack)},
			{run(0, 0, 1, sim.RolledBack), power(2), run(1, 3, 4, sim.Conflict)},
			{grown(run(2, 0, 1, sim.RolledBack)), closed(2), ask(4, 5, sim.NotKnown)}, // the log never heard of it
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.RolledBack), ask(2, 3, sim.NotKnown)},
			{run(0, 0, 1, sim.RolledBack), ask(2, 3, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), power(2), ask(3, 4, sim.Committed)}, // nobody ran it again
			{run(0, 0, 1, sim.RolledBack), power(2), ask(3, 4, sim.RolledBack), run(0, 5, 6, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), power(2), run(0, 3, 4, sim.Committed), ask(5, 6, sim.RolledBack)},
			{run(0, 0, 1, sim.RolledBack), opened(2), run(0, 3, 4, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), closed(2), opened(3), run(0, 4, 5, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), closed(2), ask(4, 5, sim.NotKnown)},
			{grown(run(2, 0, 1, sim.RolledBack)), ask(4, 5, sim.NotKnown)},
			{grown(run(2, 0, 1, sim.Committed)), closed(2), ask(4, 5, sim.NotKnown)},
		},
	},
	{
		rule: "what recovery finds undecided is rolled back",
		good: [][]sim.Op{
			{lost(0, 0), power(1), ask(2, 3, sim.Unfinished), ask(4, 5, sim.RolledBack)},
			{lost(0, 0), power(1), ask(2, 3, sim.Unfinished), run(0, 4, 5, sim.RolledBack)},
			{lost(0, 0), power(1), ask(2, 3, sim.Unfinished), power(4), ask(5, 6, sim.Unfinished)},
		},
		bad: [][]sim.Op{
			{lost(0, 0), power(1), ask(2, 3, sim.Unfinished), ask(4, 5, sim.Committed)},
			{lost(0, 0), power(1), ask(2, 3, sim.Unfinished), run(0, 4, 5, sim.Committed)},
		},
	},
	{
		rule: "what could not be logged did nothing, and may be found after a crash, to be rolled back",
		good: [][]sim.Op{
			{run(0, 0, 1, sim.LogFailed), ask(2, 3, sim.NotKnown), killed(4), ask(5, 6, sim.Unfinished), ask(7, 8, sim.RolledBack)},
			{run(0, 0, 1, sim.LogFailed), killed(4), run(1, 5, 6, sim.Conflict)},
			{run(0, 0, 3, sim.LogFailed), ask(1, 2, sim.Unfinished), killed(4), ask(5, 6, sim.RolledBack)},
			{run(0, 0, 1, sim.LogFailed), killed(4), run(1, 5, 6, sim.Committed)},
			{run(0, 0, 1, sim.LogFailed), killed(4), killed(5), run(0, 6, 7, sim.RolledBack)},
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.LogFailed), ask(2, 3, sim.RolledBack)},
			{run(0, 0, 1, sim.LogFailed), killed(4), ask(5, 6, sim.Committed)},
			{run(0, 0, 1, sim.LogFailed), killed(4), ask(5, 6, sim.NotKnown), killed(7), ask(8, 9, sim.RolledBack)},
			{run(0, 0, 1, sim.Refused), killed(4), ask(5, 6, sim.RolledBack)},
			{run(0, 0, 1, sim.LogFailed), closed(4), ask(5, 6, sim.RolledBack)},
		},
	},
	{
		rule: "of steps only an outcome tells something",
		good: [][]sim.Op{
			{steps(run(2, 0, 1, sim.Conflict)), ask(2, 3, sim.Committed)},
			{steps(run(2, 0, 1, sim.NotKnown)), ask(2, 3, sim.Unfinished), power(4), ask(5, 6, sim.NotKnown)},
			{steps(run(2, 0, 1, sim.Refused)), ask(2, 3, sim.Unfinished)}, // it lives until its lifetime is over
			{steps(run(2, 0, 1, sim.Committed)), run(0, 2, 3, sim.Conflict)},
		},
		bad: [][]sim.Op{
			{steps(run(2, 0, 1, sim.Committed)), ask(2, 3, sim.RolledBack)},
			{steps(run(2, 0, 1, sim.RolledBack)), steps(run(2, 2, 3, sim.Committed))},
			{steps(run(2, 0, 1, sim.Committed)), power(2), ask(3, 4, sim.NotKnown)},
			{steps(run(2, 0, 1, sim.Conflict)), ask(2, 3, sim.Committed), run(0, 4, 5, sim.Committed)},
		},
	},
	{
		rule: "no answer: it may have run until the process died, or not at all",
		good: [][]sim.Op{
			{lost(0, 0), ask(5, 6, sim.NotKnown), ask(7, 8, sim.Committed)},
			{lost(0, 0), ask(5, 6, sim.NotKnown)},
			{lost(0, 0), run(0, 1, 2, sim.RolledBack)},
			{lost(0, 0), lost(1, 0), run(1, 3, 4, sim.Conflict), ask(5, 6, sim.RolledBack)},
			{lost(0, 0), ask(1, 2, sim.Unfinished), power(3), ask(4, 5, sim.NotKnown)},
		},
		bad: [][]sim.Op{
			{lost(0, 0), ask(5, 6, sim.Committed), ask(7, 8, sim.NotKnown)},
			{lost(0, 0), ask(1, 2, sim.Committed), ask(3, 4, sim.Unfinished)},
			{lost(0, 0), power(1), ask(2, 3, sim.NotKnown), ask(4, 5, sim.Committed)}, // its process was dead
			{lost(0, 1), ask(0, 0, sim.Unfinished)},                                   // before it was called for
			{lost(0, 0), run(1, 3, 4, sim.Conflict), run(1, 5, 6, sim.Committed)},
		},
	},
	{
		rule: "an outcome tells what is, and not known means never begun, lost or forgotten",
		good: [][]sim.Op{
			{ask(0, 1, sim.NotKnown), run(0, 2, 3, sim.Committed), ask(4, 5, sim.Committed)},
			{run(0, 0, 5, sim.RolledBack), ask(1, 2, sim.NotKnown), ask(2, 3, sim.Unfinished), ask(4, 5, sim.RolledBack)},
			{run(0, 0, 5, sim.Refused), ask(1, 2, sim.Unfinished), ask(3, 4, sim.NotKnown)},
			{run(0, 0, 5, sim.Refused), ask(1, 2, sim.Unfinished), ask(6, 7, sim.NotKnown)},
			{run(0, 0, 1, sim.Refused), ask(1, 2, sim.Refused), ask(2, 3, sim.NotKnown)},
		},
		bad: [][]sim.Op{
			{ask(0, 1, sim.Committed)},
			{ask(0, 1, sim.RolledBack), run(0, 2, 3, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), ask(2, 3, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), ask(2, 3, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), ask(2, 3, sim.Unfinished)},
			{run(0, 0, 5, sim.Committed), ask(1, 2, sim.Unfinished), ask(3, 4, sim.NotKnown)},
			{run(0, 0, 9, sim.Committed), ask(1, 2, sim.Committed), ask(3, 4, sim.Unfinished)},
			{run(0, 0, 1, sim.Refused), ask(2, 3, sim.Unfinished)},
			{run(0, 0, 5, sim.Refused), ask(1, 2, sim.Committed)},
		},
	},
	{
		rule:   "after the retention an outcome may be forgotten, and the id run anew",
		params: Params{Retention: at(10)},
		good: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), ask(11, 12, sim.NotKnown), run(1, 13, 14, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), run(0, 11, 12, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), ask(11, 12, sim.Committed)},
			{run(0, 0, 1, sim.Committed), power(5), ask(11, 12, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), run(0, 12, 13, sim.Committed), ask(20, 21, sim.Committed)},
			// Its end was not on the disk: recovery ends it once more, and it is young again.
			{run(0, 0, 1, sim.Committed), run(0, 12, 13, sim.RolledBack), power(14), ask(15, 16, sim.Committed)},
			{run(0, 0, 1, sim.Committed), run(1, 12, 13, sim.RolledBack), power(14), run(1, 15, 16, sim.Conflict), ask(27, 28, sim.NotKnown)},
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), ask(8, 9, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), run(1, 8, 9, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), run(0, 8, 9, sim.Committed)},
			{run(0, 0, 1, sim.Committed), run(0, 12, 13, sim.RolledBack), ask(20, 21, sim.NotKnown)}, // the second run is young
			{run(0, 0, 1, sim.Committed), ask(20, 21, sim.RolledBack)},                               // forgotten, not changed
			{run(0, 0, 1, sim.Committed), power(5), ask(8, 9, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), run(0, 12, 13, sim.RolledBack), ask(15, 16, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), run(1, 12, 13, sim.Committed), power(14), ask(15, 16, sim.RolledBack)},
		},
	},
	{
		rule:   "when as many others as the limit have ended an outcome may be forgotten",
		params: Params{Limit: 2},
		good: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", lost(0, 4)), ask(5, 6, sim.NotKnown)},
			// The next process may remember it again, because what else ended is not in the log.
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.RolledBack)), of("c", run(0, 2, 3, sim.RolledBack)), ask(5, 6, sim.NotKnown), closed(7), ask(8, 9, sim.Committed)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.RolledBack)), run(1, 5, 6, sim.RolledBack), power(7), run(1, 8, 9, sim.Conflict)},
			// What could not be logged is found by the next process perhaps, and ends there.
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", run(0, 4, 5, sim.LogFailed)), killed(6), ask(7, 8, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.LogFailed)), of("c", run(0, 2, 3, sim.LogFailed)), power(6), ask(7, 8, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.LogFailed)), power(4), of("b", run(0, 5, 6, sim.LogFailed)), power(7), ask(8, 9, sim.NotKnown)},
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), ask(5, 6, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), ask(5, 6, sim.NotKnown), of("c", run(0, 7, 8, sim.Committed))},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", run(0, 2, 3, sim.Refused)), ask(5, 6, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", run(0, 2, 3, sim.Committed)), ask(5, 6, sim.NotKnown), closed(7), ask(8, 9, sim.RolledBack)},
			{run(0, 0, 1, sim.RolledBack), of("b", run(0, 2, 3, sim.Committed)), run(1, 5, 6, sim.Committed), power(7), ask(8, 9, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", run(0, 2, 3, sim.Committed)), ask(5, 6, sim.NotKnown), ask(8, 9, sim.Committed)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("b", run(1, 3, 4, sim.Conflict)), ask(5, 6, sim.NotKnown)},
			// It has not ended in the process whose log failed, is not found after a close, and nothing
			// else is begun there; and a request that was only refused is not in the log at all.
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", run(0, 4, 5, sim.LogFailed)), ask(7, 8, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", run(0, 4, 5, sim.LogFailed)), ask(5, 6, sim.NotKnown), killed(6)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", run(0, 4, 5, sim.LogFailed)), closed(6), ask(7, 8, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.LogFailed)), of("b", run(0, 4, 5, sim.LogFailed)), killed(6), ask(7, 8, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), of("b", run(0, 2, 3, sim.Committed)), of("c", run(0, 4, 5, sim.Refused)), killed(6), ask(7, 8, sim.NotKnown)},
		},
	},
	{
		rule: "nothing is forced for what only reads",
		good: [][]sim.Op{
			{reads(run(0, 0, 1, sim.Committed)), power(2), ask(3, 4, sim.NotKnown)},
			{reads(run(0, 0, 1, sim.Committed)), power(2), reads(run(0, 3, 4, sim.RolledBack))},
			{reads(run(0, 0, 1, sim.Committed)), power(2), ask(3, 4, sim.Committed)},
		},
		bad: [][]sim.Op{
			{reads(run(0, 0, 1, sim.Committed)), ask(3, 4, sim.NotKnown)},
			{reads(run(0, 0, 1, sim.Committed)), reads(run(0, 3, 4, sim.RolledBack))},
			{reads(run(0, 0, 1, sim.Committed)), run(1, 3, 4, sim.Conflict), power(5), ask(6, 7, sim.RolledBack), ask(8, 9, sim.NotKnown)},
		},
	},
	{
		rule: "what somebody finished against the decision stays so until a crash",
		good: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), ask(2, 3, sim.Heuristic), run(0, 4, 5, sim.Heuristic)},
			{run(0, 0, 1, sim.Committed), ask(2, 3, sim.Heuristic), power(4), ask(5, 6, sim.Committed), ask(6, 7, sim.Heuristic)},
			{run(0, 0, 1, sim.Heuristic), power(4), ask(5, 6, sim.NotKnown)}, // rolled back, and the hazard was there
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.Heuristic), ask(2, 3, sim.Committed)},
			{run(0, 0, 1, sim.Heuristic), ask(2, 3, sim.NotKnown)},
			{run(0, 0, 1, sim.Committed), ask(2, 3, sim.Heuristic), power(4), ask(5, 6, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), ask(2, 3, sim.Heuristic), power(4), ask(5, 6, sim.NotKnown)},
			{ask(0, 1, sim.Heuristic)},
		},
	},
	{
		rule:   "over a network a request may come late, and twice",
		params: Params{Networked: true},
		good: [][]sim.Op{
			{lost(0, 0), killed(1), ask(2, 3, sim.NotKnown), ask(4, 5, sim.Committed)},
			{run(0, 0, 1, sim.RolledBack), killed(2), ask(3, 4, sim.NotKnown), ask(5, 6, sim.Committed)},
			{run(0, 0, 1, sim.Refused), ask(2, 3, sim.Unfinished)},
		},
		bad: [][]sim.Op{
			{run(0, 0, 1, sim.Committed), killed(2), ask(3, 4, sim.RolledBack)},
			{run(0, 0, 1, sim.Committed), killed(2), ask(3, 4, sim.NotKnown)},
			{run(0, 0, 1, sim.RolledBack), run(0, 2, 3, sim.Committed)},
			{ask(0, 1, sim.Unfinished), lost(0, 2)},
		},
	},
}

func TestRules(t *testing.T) {
	for _, r := range rules {
		t.Run(r.rule, func(t *testing.T) {
			for _, h := range r.good {
				if _, err := Check(h, r.params); err != nil {
					t.Errorf("a good one was rejected: %v", err)
				}
			}
			for _, h := range r.bad {
				var v *Violation
				if _, err := Check(h, r.params); !errors.As(err, &v) {
					t.Errorf("a bad one was let pass (%v):\n%s", err, list(h))
				}
			}
		})
	}
}

func list(ops []sim.Op) string {
	var b strings.Builder
	for _, op := range ops {
		c := place(op, Params{})
		fmt.Fprintf(&b, "  %s\n", c.String())
	}
	return b.String()
}

// A violation in one id is found among many others, and tells of no other.
func TestOnlyTheBadIDIsTold(t *testing.T) {
	var h []sim.Op
	for i := range 100 {
		h = append(h, of(fmt.Sprint("good", i), run(0, i, i+5, sim.Committed)))
	}
	h = append(h, of("bad", run(0, 3, 4, sim.Committed)), of("bad", ask(6, 7, sim.NotKnown)), power(5))
	var v *Violation
	if _, err := Check(h, Params{}); !errors.As(err, &v) {
		t.Fatalf("not found: %v", err)
	}
	if v.ID != "bad" || strings.Contains(v.Why, "good") || !strings.Contains(v.Why, "power lost") {
		t.Errorf("told of %s:\n%s", v.ID, v.Why)
	}
}

// A violation can be drawn, with what happened in it.
func TestDraw(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	_, err := Check([]sim.Op{run(0, 0, 1, sim.Committed), power(2), ask(3, 4, sim.NotKnown)}, Params{})
	said := Draw(err)
	path, ok := strings.CutPrefix(said, "drawn in ")
	if !ok {
		t.Fatal(said)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "power lost") {
		t.Errorf("%v, %d bytes", err, len(text))
	}
	if said := Draw(errors.New("another error")); strings.HasPrefix(said, "drawn") {
		t.Error(said)
	}
}

// More calls of one id than there are bits share them, and the rules still hold.
func TestManyCallsOfOneID(t *testing.T) {
	h := []sim.Op{run(0, 0, 1, sim.RolledBack), power(2)}
	for i := range 200 {
		h = append(h, lost(i%3, 10+i), run(0, 10+i, 11+i, sim.Committed))
	}
	if _, err := Check(h, Params{}); err != nil {
		t.Fatal(err)
	}
	var v *Violation
	if _, err := Check(append(h, ask(500, 501, sim.RolledBack)), Params{}); !errors.As(err, &v) {
		t.Fatalf("not found: %v", err)
	}
}

// made is a history as a run of the simulator has it: clients that run, repeat and ask
// about few ids at once, and a crash now and then.
func made(rng *rand.Rand, n int) []sim.Op {
	var h []sim.Op
	for i := range n {
		from := i + rng.IntN(3)
		id := fmt.Sprint("t", i/4)
		switch rng.IntN(4) {
		case 0:
			h = append(h, of(id, lost(0, from)))
		case 1:
			h = append(h, of(id, ask(from+9, from+10, sim.Committed)), of(id, run(0, from, from+5, sim.Committed)))
		default:
			h = append(h, of(id, run(0, from, from+rng.IntN(8), sim.Committed)))
		}
		if i%20 == 19 {
			h = append(h, power(i))
		}
	}
	return h
}

func BenchmarkCheck(b *testing.B) {
	h := made(rand.New(rand.NewPCG(1, 1)), 60)
	for b.Loop() {
		if _, err := Check(h, Params{Retention: at(1000)}); err != nil {
			b.Fatal(err)
		}
	}
}
