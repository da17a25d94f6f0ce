package explore

import (
	"os"
	"strconv"
	"time"
)

var (
	localLocal   = []Kind{Local, Local}
	remoteLocal  = []Kind{Remote, Local}
	remoteRemote = []Kind{Remote, Remote}

	threeLocal  = []Kind{Local, Local, Local}
	oneRemote   = []Kind{Remote, Local, Local}
	twoRemote   = []Kind{Remote, Remote, Local}
	threeRemote = []Kind{Remote, Remote, Remote}
	fourRemote  = []Kind{Remote, Remote, Remote, Remote}
)

// smallWorlds are walked under the race detector, and for every planted bug.
var smallWorlds = []Rules{
	{Kinds: localLocal, Crashes: 2, Colds: 1, Attempts: 1},
	{Kinds: remoteLocal, Crashes: 1, Colds: 1, Attempts: 1},
	{Kinds: remoteRemote, Crashes: 2, Attempts: 1},
	{Kinds: localLocal, Crashes: 1, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true, UnsureAnswers: true},
}

// threeWorlds are all kinds of three participants, with all crashes.
var threeWorlds = []Rules{
	{Kinds: threeLocal, Crashes: 3, Colds: 2, Attempts: 1},
	{Kinds: oneRemote, Crashes: 3, Colds: 2, Attempts: 1},
	{Kinds: twoRemote, Crashes: 3, Colds: 2, Attempts: 1},
	{Kinds: threeRemote, Crashes: 3, Colds: 2, Attempts: 1},
}

// leastStates says how many states each world has: fewer are not the whole of it.
var leastStates = map[string]int64{
	"local+local/2-1":      2_156,
	"remote+local/1-1":     3_358,
	"remote+remote/2-0":    2_361,
	"local+local/1-0-rich": 34_102,

	"local+local+local/3-2":    42_307,
	"remote+local+local/3-2":   86_745,
	"remote+remote+local/3-2":  64_065,
	"remote+remote+remote/3-2": 22_131,

	"local+local/3-2-counted":   16_961,
	"remote+local/3-2-counted":  52_190,
	"remote+remote/3-2-counted": 82_773,

	"local+local/3-2-rich":   54_134,
	"remote+local/3-2-rich":  129_178,
	"remote+remote/3-2-rich": 78_755,

	"local+local+local/3-2-rich":    74_723,
	"remote+local+local/3-2-rich":   164_095,
	"remote+remote+local/3-2-rich":  129_691,
	"remote+remote+remote/3-2-rich": 45_014,

	"remote+remote+remote+remote/3-2": 201_141,
}

// soakWorlds are walked for as long as somebody wants to wait, one after the
// other, roughly by size.
func soakWorlds() []Rules {
	all := func(kinds []Kind) Rules {
		return Rules{
			Kinds: kinds, Crashes: 3, Colds: 2, LogFaults: 1, Attempts: 2,
			ReadOnly: true, Withdrawals: true, HungRemotes: true, UnsureAnswers: true,
		}
	}
	counted := func(kinds []Kind) Rules {
		return Rules{Kinds: kinds, Crashes: 3, Colds: 2, Attempts: 1, Without: uncounted}
	}
	return []Rules{
		all(localLocal), all(remoteRemote), all(remoteLocal),
		counted(threeLocal), counted(oneRemote), counted(twoRemote), counted(threeRemote),
		all(threeLocal), all(threeRemote), all(twoRemote), all(oneRemote),
		{Kinds: []Kind{Remote, Local, Local, Local}, Crashes: 3, Colds: 2, Attempts: 1},
		{Kinds: []Kind{Remote, Remote, Local, Local}, Crashes: 3, Colds: 2, Attempts: 1},
		{Kinds: []Kind{Remote, Remote, Remote, Local}, Crashes: 3, Colds: 2, Attempts: 1},
		all(fourRemote),
	}
}

// maxStates keeps a world in memory: a state takes about 60 bytes.
const maxStates = 50_000_000

// soak returns for how long larger worlds are to be walked: DTC_SOAK_HOURS, or
// DTC_SOAK_SECONDS.
func soak() time.Duration {
	for name, unit := range map[string]time.Duration{"DTC_SOAK_HOURS": time.Hour, "DTC_SOAK_SECONDS": time.Second} {
		if n, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil && n > 0 {
			return time.Duration(n * float64(unit))
		}
	}
	return 0
}
