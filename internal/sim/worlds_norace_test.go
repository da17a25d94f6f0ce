//go:build !race && !canary

package sim

import "slices"

// worlds are those of an ordinary run.
var worlds = slices.Concat(smallWorlds, ordinaryWorlds)

// ordinaryWorlds take one to two minutes of one processor.
var ordinaryWorlds = []Rules{
	// Two participants with all crashes.
	{Kinds: localLocal, Crashes: 3, Colds: 2, Attempts: 1},
	{Kinds: remoteLocal, Crashes: 3, Colds: 2, Attempts: 1},
	{Kinds: remoteRemote, Crashes: 3, Colds: 2, Attempts: 1},
	// Two with everything else that may go wrong.
	{Kinds: localLocal, Crashes: 3, Colds: 2, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true, UnsureAnswers: true},
	{Kinds: remoteLocal, Crashes: 2, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true, UnsureAnswers: true},
	{Kinds: remoteRemote, Crashes: 2, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true},
	{Kinds: remoteRemote, Crashes: 1, Colds: 1, Attempts: 1, ReadOnly: true, HungRemotes: true},
	// Three: with a remote participant among them, crashes of the coordinator
	// only, or, where there is but one, also one of a participant.
	{Kinds: threeLocal, Crashes: 3, Colds: 2, Attempts: 1},
	{Kinds: oneRemote, Crashes: 3, Colds: 1, Attempts: 1},
	{Kinds: twoRemote, Crashes: 3, Attempts: 1},
	{Kinds: threeRemote, Crashes: 2, Attempts: 1},
}
