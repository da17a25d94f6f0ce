//go:build !race && !canary

package sim

import "slices"

// worlds are those of an ordinary run.
var worlds = slices.Concat(smallWorlds, ordinaryWorlds)

// ordinaryWorlds take four minutes of one processor.
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
	// Three with all crashes, or as many as a minute allows: each remote participant
	// multiplies the states. All crashes with two of them are 25 million states and
	// were walked whole in 200 s; with three they are more than 62 million. Both are
	// left to the soak.
	{Kinds: threeLocal, Crashes: 3, Colds: 2, Attempts: 1},
	{Kinds: oneRemote, Crashes: 3, Colds: 2, Attempts: 1},
	{Kinds: twoRemote, Crashes: 3, Attempts: 1},
	{Kinds: twoRemote, Crashes: 2, Colds: 1, Attempts: 1},
	{Kinds: threeRemote, Crashes: 3, Attempts: 1},
	{Kinds: threeRemote, Crashes: 1, Colds: 1, Attempts: 1},
}
