//go:build race || canary

package explore

// worlds are those of a run under the race detector, where a step takes ten
// times as long and nothing runs beside anything else, and those that must be
// clean when no planted bug is active.
var worlds = smallWorlds

// pairs are the worlds of two.
var pairs = smallPairs

// onces are the worlds of one phase.
var onces = smallOnces

// plainPairs are those that are walked with no reduction at all, here too.
var plainPairs = smallPairs[1:2]

// plainWorlds are small enough to be walked with no reduction at all, here too.
var plainWorlds = []Rules{
	{Kinds: localLocal, Crashes: 1, Attempts: 1},
	{Kinds: remoteLocal, Crashes: 1, Attempts: 1},
}

// keyWorlds are walked without the reductions of the key.
var keyWorlds = smallWorlds[:3]
