//go:build !race && !canary

package explore

import "slices"

// worlds are those of an ordinary run.
var worlds = slices.Concat(smallWorlds, threeWorlds, ordinaryWorlds)

// ordinaryWorlds and the worlds of three take half a minute of one processor.
var ordinaryWorlds = []Rules{
	// Two participants with all crashes, counted: exactly three and two.
	{Kinds: localLocal, Crashes: 3, Colds: 2, Attempts: 1, Without: uncounted},
	{Kinds: remoteLocal, Crashes: 3, Colds: 2, Attempts: 1, Without: uncounted},
	{Kinds: remoteRemote, Crashes: 3, Colds: 2, Attempts: 1, Without: uncounted},
	// Two with everything else that may go wrong.
	{Kinds: localLocal, Crashes: 3, Colds: 2, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true, UnsureAnswers: true},
	{Kinds: remoteLocal, Crashes: 3, Colds: 2, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true, HungRemotes: true, UnsureAnswers: true},
	{Kinds: remoteRemote, Crashes: 3, Colds: 2, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true, HungRemotes: true},
	// Three with read-only votes.
	{Kinds: threeLocal, Crashes: 3, Colds: 2, Attempts: 1, ReadOnly: true},
	{Kinds: oneRemote, Crashes: 3, Colds: 2, Attempts: 1, ReadOnly: true},
	{Kinds: twoRemote, Crashes: 3, Colds: 2, Attempts: 1, ReadOnly: true},
	{Kinds: threeRemote, Crashes: 3, Colds: 2, Attempts: 1, ReadOnly: true},
	// Four.
	{Kinds: fourRemote, Crashes: 3, Colds: 2, Attempts: 1},
}

// pairs are the worlds of two of an ordinary run. They take a quarter of a minute of
// one processor.
var pairs = slices.Concat(smallPairs, []pairWorld{
	// Three crashes, of one participant.
	{PairRules{At: [2]uint8{1, 1}, Crashes: 3}, 61_234, lowWaterSights},
	{PairRules{At: [2]uint8{1, 1}, Crashes: 3, SameID: true}, 19_551, sameIDSights},
	{PairRules{At: [2]uint8{1, 1}, Crashes: 2, Restores: 1}, 90_126, holdSights},
	// Two participants.
	{PairRules{At: [2]uint8{2, 1}, Crashes: 1}, 179_540, lowWaterSights},
	{PairRules{At: [2]uint8{1, 2}, Crashes: 1}, 201_860, lowWaterSights},
	{PairRules{At: [2]uint8{2, 2}, Crashes: 1, SameID: true}, 325_098, sameIDSights},
	{PairRules{At: [2]uint8{2, 1}, Crashes: 1, Restores: 1}, 289_911, holdSights},
})

// onces are the worlds of one phase of an ordinary run.
var onces = slices.Concat(smallOnces, []onceCase{
	{OnceRules{Runs: 2, Crashes: 3, Dropping: true}, 61_566, droppedSights},
	{OnceRules{Runs: 3, Crashes: 2, Dropping: true}, 78_943, droppedSights},
	{OnceRules{Runs: 2, Crashes: 2, Statements: 1, LogFaults: 1}, 286_972, doubtfulSights},
	{OnceRules{Runs: 2, Crashes: 1, Statements: 2, LogFaults: 1, Withdrawals: true}, 171_156, doubtfulSights},
})

// plainPairs are those that are walked with no reduction at all.
var plainPairs = smallPairs

// plainWorlds are small enough to be walked with no reduction at all.
var plainWorlds = append([]Rules{
	{Kinds: localLocal, Crashes: 2, Colds: 2, Attempts: 1},
	{Kinds: remoteLocal, Crashes: 2, Colds: 1, Attempts: 1},
	{Kinds: localLocal, Crashes: 1, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true, UnsureAnswers: true},
}, inSoak(
	Rules{Kinds: remoteRemote, Crashes: 2, Attempts: 1},
	Rules{Kinds: remoteRemote, Crashes: 1, Attempts: 1, ReadOnly: true},
	Rules{Kinds: remoteRemote, Crashes: 1, Attempts: 1, HungRemotes: true},
)...)

// keyWorlds are walked without the reductions of the key.
var keyWorlds = slices.Concat(plainWorlds, inSoak(threeWorlds[3]))

// inSoak returns worlds that are walked in a soak only: that the reductions hide nothing
// in them changes with the explorer, not with what it explores.
func inSoak(worlds ...Rules) []Rules {
	if soak() == 0 {
		return nil
	}
	return worlds
}
