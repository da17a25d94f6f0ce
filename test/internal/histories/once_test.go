package histories

import (
	"time"

	"github.com/dtc-project/dtc/internal/sim"
)

// inOne makes an execute one in one phase, at the participant and with the payload of
// that number.
func inOne(evidence int, op sim.Op) sim.Op { op.OnePhase, op.Evidence = true, evidence; return op }

func proof(from, to int, a sim.Answer) sim.Op {
	op := ask(from, to, a)
	op.Kind = sim.OpProve
	return op
}

func stated(from, to int, a sim.Answer) sim.Op {
	op := sim.Op{Kind: sim.OpResolved, ID: "a", Call: at(from), Return: at(to), Answer: a}
	if to < 0 {
		op.Return = -time.Second
	}
	return op
}

func init() {
	ok, no := sim.Committed, sim.RolledBack
	rules = append(rules, []rule{
		{
			rule: "in one phase: committed may be unknown after a crash, and the same request is told so again",
			good: [][]sim.Op{
				{inOne(1, run(0, 0, 1, ok)), power(2), ask(3, 4, sim.NotKnown), inOne(1, run(0, 5, 6, ok))},
				{inOne(1, run(0, 0, 1, ok)), killed(2), ask(3, 4, sim.NotKnown), proof(5, 6, ok)},
				{inOne(1, run(0, 0, 1, ok)), power(2), inOne(1, grown(run(2, 3, 4, ok)))},
				{inOne(1, run(0, 0, 1, ok)), power(2), ask(3, 4, sim.Unfinished), ask(5, 6, ok)},
				{inOne(1, run(0, 0, 1, ok)), power(2), power(3), inOne(1, run(0, 5, 6, ok)), ask(7, 8, ok)},
				{inOne(1, run(0, 0, 1, ok)), power(2), inOne(2, run(1, 3, 4, no))}, // another request
				{inOne(1, run(0, 0, 1, ok)), power(2), inOne(2, run(1, 3, 4, no)), inOne(1, run(0, 5, 6, sim.Conflict))},
				{inOne(1, run(0, 0, 1, ok)), power(2), inOne(1, lost(0, 3)), power(5), inOne(1, run(0, 6, 7, ok))},
			},
			bad: [][]sim.Op{
				{inOne(1, run(0, 0, 1, ok)), ask(3, 4, sim.NotKnown)}, // without a crash
				{inOne(1, run(0, 0, 1, ok)), closed(2), ask(3, 4, sim.NotKnown)},
				{inOne(1, run(0, 0, 1, ok)), power(2), inOne(1, run(0, 3, 4, no))},
				{inOne(1, run(0, 0, 1, ok)), power(2), inOne(1, grown(run(2, 3, 4, no)))},
				{inOne(1, run(0, 0, 1, ok)), power(2), proof(3, 4, sim.NotKnown)},
				{inOne(1, run(0, 0, 1, ok)), power(2), ask(3, 4, no)},
				{inOne(1, run(0, 0, 1, ok)), power(2), proof(3, 4, no)},
				{inOne(1, run(0, 0, 1, ok)), power(2), ask(3, 4, sim.NotKnown), power(5), inOne(1, run(0, 6, 7, no))},
				{inOne(1, run(0, 0, 1, ok)), power(2), inOne(1, lost(0, 3)), ask(4, 5, no)},
				{inOne(1, run(0, 0, 1, ok)), power(2), ask(3, 4, sim.Unfinished), ask(5, 6, no)},
				{inOne(1, run(0, 0, 1, ok)), power(2), inOne(1, run(0, 3, 4, ok)), ask(5, 6, sim.NotKnown)},
				{run(0, 0, 1, ok), power(2), inOne(1, run(0, 3, 4, ok)), ask(5, 6, sim.NotKnown)}, // that was in two phases
				{run(0, 0, 1, ok), power(2), proof(3, 4, sim.NotKnown)},
			},
		},
		{
			rule: "in one phase: another request under an id that the log has lost may be on the disk when its log failed",
			good: [][]sim.Op{
				{inOne(1, run(0, 0, 1, ok)), power(2), run(1, 3, 4, sim.LogFailed), killed(5), ask(6, 7, no)},
				{inOne(1, run(0, 0, 1, ok)), power(2), run(1, 3, 4, sim.LogFailed), killed(5), ask(6, 7, sim.Unfinished), proof(8, 9, no)},
				{inOne(1, run(0, 0, 1, ok)), power(2), run(1, 3, 4, sim.LogFailed), killed(5), ask(6, 7, sim.NotKnown), proof(8, 9, ok)},
			},
			bad: [][]sim.Op{
				{inOne(1, run(0, 0, 1, ok)), run(1, 3, 4, sim.LogFailed), killed(5), ask(6, 7, no)}, // it was not lost
				{inOne(1, run(0, 0, 1, ok)), power(2), run(1, 3, 4, sim.LogFailed), ask(6, 7, no)},
				{inOne(1, run(0, 0, 1, ok)), power(2), run(1, 3, 4, sim.LogFailed), killed(5), ask(6, 7, no), ask(8, 9, ok)},
				{inOne(1, run(0, 0, 1, ok)), power(2), killed(5), ask(6, 7, no)},
				{run(0, 0, 1, ok), power(2), run(1, 3, 4, sim.LogFailed), killed(5), ask(6, 7, no)},
			},
		},
		{
			rule: "in one phase: rolled back is for ever, unless somebody runs it again",
			good: [][]sim.Op{
				{inOne(1, run(0, 0, 1, no)), power(2), ask(3, 4, sim.Unfinished), ask(5, 6, no)},
				{inOne(1, run(0, 0, 1, no)), power(2), proof(3, 4, sim.NotKnown), inOne(1, run(0, 5, 6, ok))},
			},
			bad: [][]sim.Op{
				{inOne(1, run(0, 0, 1, no)), proof(3, 4, ok)},
				{inOne(1, run(0, 0, 1, no)), power(2), proof(3, 4, ok)},
				{inOne(1, run(0, 0, 1, no)), power(2), ask(3, 4, sim.Unfinished), ask(5, 6, ok)},
				{inOne(1, run(0, 0, 1, no)), inOne(1, run(0, 3, 4, ok))},
				{inOne(1, run(0, 0, 1, no)), power(2), power(3), ask(5, 6, ok)},
			},
		},
		{
			rule: "in one phase: what recovery finds is as the participant says",
			good: [][]sim.Op{
				{inOne(1, lost(0, 0)), power(1), ask(2, 3, sim.Unfinished), ask(4, 5, ok)},
				{inOne(1, lost(0, 0)), power(1), ask(2, 3, sim.Unfinished), ask(4, 5, no)},
				{inOne(1, lost(0, 0)), power(1), ask(2, 3, sim.NotKnown), proof(4, 5, sim.NotKnown), proof(6, 7, ok)}, // it came late
				{inOne(1, lost(0, 0)), power(1), proof(4, 5, sim.NotKnown), inOne(1, run(0, 6, 7, no))},
			},
			bad: [][]sim.Op{
				{inOne(1, lost(0, 0)), power(1), ask(2, 3, sim.Unfinished), ask(4, 5, ok), ask(6, 7, no)},
				{inOne(1, lost(0, 0)), power(1), ask(2, 3, sim.NotKnown), ask(4, 5, ok)}, // nobody ran it again
				{inOne(1, lost(0, 0)), power(1), ask(2, 3, ok), power(4), inOne(1, run(0, 5, 6, no))},
				{proof(0, 1, ok)},
			},
		},
		{
			rule: "in one phase: the participant may prove what the coordinator has not heard yet",
			good: [][]sim.Op{
				{inOne(1, run(0, 0, 9, ok)), proof(0, 3, ok), ask(4, 5, sim.Unfinished), ask(6, 7, sim.Unfinished)},
				{inOne(1, lost(0, 0)), proof(0, 3, ok), ask(4, 5, sim.Unfinished), power(6), ask(7, 8, sim.NotKnown), proof(9, 10, ok)},
				{inOne(1, lost(0, 0)), power(1), proof(2, 3, ok), ask(4, 5, sim.Unfinished), ask(6, 7, ok)},
			},
			bad: [][]sim.Op{
				{inOne(1, run(0, 0, 9, no)), proof(0, 3, ok)},
				{inOne(1, run(0, 0, 9, ok)), proof(0, 3, ok), ask(4, 5, sim.NotKnown)},
				{inOne(1, lost(0, 0)), proof(0, 3, ok), ask(4, 5, sim.Unfinished), ask(6, 7, no)},
				{inOne(1, lost(0, 0)), proof(0, 3, ok), ask(4, 5, sim.Unfinished), power(6), inOne(1, run(0, 7, 8, no))},
				{run(0, 0, 9, ok), proof(0, 3, ok), ask(4, 5, sim.Unfinished)}, // in two phases that is no proof
			},
		},
		{
			rule:   "in one phase: what ran again beyond the limit may be answered with its earlier run",
			params: Params{Limit: 2},
			good: [][]sim.Op{
				{inOne(0, run(0, 0, 1, no)), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), inOne(0, run(0, 5, 6, ok)), power(7), ask(8, 9, no)},
				{inOne(0, run(0, 0, 1, no)), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), inOne(0, run(0, 5, 6, ok)), power(7), ask(8, 9, ok)},
			},
			bad: [][]sim.Op{
				{inOne(0, run(0, 0, 1, no)), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), inOne(0, run(0, 5, 6, ok)), ask(8, 9, no)},
				{run(0, 0, 1, no), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), run(0, 5, 6, ok), power(7), ask(8, 9, no)},
			},
		},
		{
			rule:   "in one phase: what was forgotten and is proved may be remembered by the next process",
			params: Params{Limit: 2},
			good: [][]sim.Op{
				{inOne(1, run(0, 0, 1, ok)), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), ask(4, 5, sim.NotKnown), proof(6, 7, ok), power(8), ask(9, 10, ok)},
				{inOne(1, run(0, 0, 1, ok)), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), ask(4, 5, sim.NotKnown), proof(6, 7, ok), power(8), ask(9, 10, sim.Unfinished), ask(11, 12, ok)},
				{inOne(1, run(0, 0, 1, ok)), power(2), of("b", run(0, 3, 4, ok)), inOne(2, run(1, 5, 6, no)), proof(7, 8, ok), power(9), ask(10, 11, ok)},
			},
			bad: [][]sim.Op{
				{inOne(1, run(0, 0, 1, ok)), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), ask(4, 5, sim.NotKnown), proof(6, 7, ok), ask(9, 10, ok)},
				{inOne(1, run(0, 0, 1, ok)), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), ask(4, 5, sim.NotKnown), proof(6, 7, ok), power(8), ask(9, 10, no)},
				{run(0, 0, 1, no), of("b", run(0, 2, 3, ok)), of("c", run(0, 2, 3, ok)), run(0, 4, 5, ok), proof(6, 7, ok), power(8), ask(9, 10, no)},
			},
		},
		{
			rule: "in one phase: an operator's word is the outcome",
			good: [][]sim.Op{
				{inOne(1, run(0, 0, 1, ok)), power(2), ask(3, 4, sim.Unfinished), stated(5, 6, no), ask(7, 8, no)},
				{inOne(1, lost(0, 0)), power(1), stated(5, 6, ok), ask(7, 8, ok)},
				{inOne(1, run(0, 0, 1, ok)), power(2), stated(5, -1, no), power(7), ask(8, 9, no)}, // nobody heard that it was taken
				{inOne(1, run(0, 0, 1, no)), killed(2), stated(5, 6, ok), ask(7, 8, ok)},           // its end was lost
			},
			bad: [][]sim.Op{
				{run(0, 0, 1, ok), power(2), stated(5, 6, no), ask(7, 8, no)}, // in two phases it is not
				{inOne(1, run(0, 0, 1, ok)), stated(5, 6, no), ask(7, 8, no)}, // nor when it is known
				{inOne(1, run(0, 0, 1, ok)), power(2), ask(7, 8, no), stated(9, 10, no)},
				{inOne(1, run(0, 0, 1, no)), stated(5, 6, ok), ask(7, 8, ok)},
				{inOne(1, run(0, 0, 1, no)), killed(2), ask(3, 4, no), stated(5, 6, ok), ask(7, 8, ok)},
				{run(0, 0, 1, no), killed(2), stated(5, 6, ok), ask(7, 8, ok)},
			},
		},
	}...)
}
