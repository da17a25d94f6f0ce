package sim

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
)

// smallWorlds are walked under the race detector, and for every planted bug.
var smallWorlds = []Rules{
	{Kinds: localLocal, Crashes: 2, Colds: 1, Attempts: 1},
	{Kinds: remoteLocal, Crashes: 1, Colds: 1, Attempts: 1},
	{Kinds: remoteRemote, Crashes: 2, Attempts: 1},
	{Kinds: localLocal, Crashes: 1, LogFaults: 1, Attempts: 2, ReadOnly: true, Withdrawals: true, UnsureAnswers: true},
}

// soakWorlds are walked for as long as somebody wants to wait, one after the
// other; each is larger than the one before it.
func soakWorlds() []Rules {
	all := func(kinds []Kind, crashes, colds uint8) Rules {
		return Rules{
			Kinds: kinds, Crashes: crashes, Colds: colds, LogFaults: 1, Attempts: 2,
			ReadOnly: true, Withdrawals: true, HungRemotes: true, UnsureAnswers: true,
		}
	}
	return []Rules{
		all(localLocal, 3, 2), all(remoteLocal, 1, 1), all(remoteRemote, 1, 1),
		all(remoteLocal, 3, 2), all(remoteRemote, 2, 1), all(remoteRemote, 3, 2),
		{Kinds: twoRemote, Crashes: 3, Colds: 2, Attempts: 1},
		{Kinds: threeRemote, Crashes: 3, Colds: 2, Attempts: 1},
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
