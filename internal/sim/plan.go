package sim

import (
	"math/rand/v2"
	"time"
)

// The classes of faults.
const (
	Kills         Faults = 1 << iota // the coordinator's process is killed
	PowerLosses                      // and its disk loses what was not synced
	KillsRecovery                    // while it is opened, or recovers
	Closings                         // it is closed in order and opened again
	Pauses                           // it stops for a while and goes on
	SyncFails                        // once, with EIO
	DiskFull                         // for a while
	DiskSlow                         // syncs take up to seconds
	Loses                            // messages, one way or the other
	Repeats                          // messages arrive several times
	Lates                            // and minutes later
	Slows                            // messages take up to seconds
	Partitions                       // in one direction or both
	PartyCrashes                     // a participant's process dies
	PartyHangs                       // it takes up to many seconds
	PartyErrors                      // it answers with errors
	PartyCold                        // after a crash it does not know its branches at first
	Deaf                             // a call does not notice that its context ended
	ClientsGiveUp                    // the client's context ends early
	Forgets                          // few outcomes are remembered
	Crowds                           // few transactions may be unfinished
	Registry                         // a participant is taken out and put back
	Operators                        // an operator resolves a branch
	OnePhases                        // some participants can commit in one phase; see [settings.onePhases]
	numFaults     = iota
)

// All is every class of faults.
const All Faults = 1<<numFaults - 1

var faultNames = [numFaults]string{
	"kills", "power-losses", "kills-recovery", "closings", "pauses", "sync-fails", "disk-full", "disk-slow",
	"loses", "repeats", "lates", "slows", "partitions", "party-crashes", "party-hangs", "party-errors", "party-cold",
	"deaf", "clients-give-up", "forgets", "crowds", "registry", "operators",
	"one-phase",
}

// Names returns the names of the classes, in a fixed order.
func (f Faults) Names() (names []string) {
	for i, name := range faultNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// stream returns one of the independent sources of randomness of a seed: what is
// drawn from one does not change what the others give.
func stream(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

// Plan is the swarm that a seed chooses: each class is on or off, and now and then
// nothing goes wrong at all.
func Plan(seed uint64) Faults {
	r := stream(seed, 1)
	share := r.Float64()
	var f Faults
	for i := range numFaults - 1 {
		if r.Float64() < share {
			f |= 1 << i
		}
	}
	// What ends much of what the others try is rarer.
	for _, rare := range []Faults{Operators, Registry, Crowds, DiskFull} {
		if r.IntN(3) > 0 {
			f &^= rare
		}
	}
	if stream(seed, 6).IntN(2) == 0 {
		f |= OnePhases
	}
	return f
}

// partyKind is a kind of participant.
type partyKind uint8

const (
	memoryParty      partyKind = iota // it lists
	plainParty                        // it cannot list
	guardParty                        // package guard over a database
	inlineParty                       // in the process, and lists
	inlinePlainParty                  // in the process, and does not
	localParty                        // functions in the process that take their time
	oneParty                          // it can commit in one phase; see [one]
	inlineOneParty                    // the same within the process
)

// settings are what a seed chooses, with the faults that are on.
type settings struct {
	faults                         Faults
	lose, repeat, late, slow       float64
	hang, fail                     float64
	parties                        []partyKind
	clients, perClient             int
	segment                        int64
	limit                          int // of outcomes
	retention                      time.Duration
	most                           int // unfinished transactions
	sweep, finishCap, prepareLimit time.Duration
	completionWait                 time.Duration
	lifetime                       time.Duration
	concurrency                    int
	crashes                        int           // of the coordinator, at most
	think                          time.Duration // of a client between two calls, at most
	turning                        bool          // participants do not always commit in one phase; see [one]
}

// choose draws everything, whether the faults that use it are on or not, so that
// taking out a class of faults changes as little of the rest as can be.
func choose(seed uint64, faults Faults) settings {
	r := stream(seed, 2)
	rate := func(of Faults, most float64) float64 {
		x := most * r.Float64() * r.Float64()
		if faults&of == 0 {
			return 0
		}
		return x
	}
	s := settings{faults: faults}
	s.lose, s.repeat, s.late = rate(Loses, 0.5), rate(Repeats, 0.6), rate(Lates, 0.2)
	s.slow, s.hang, s.fail = rate(Slows, 0.5), rate(PartyHangs, 0.3), rate(PartyErrors, 0.5)
	for range 3 + r.IntN(3) {
		// Mostly such as list: then a prepare record is not forced, and less protects
		// what they hold.
		kinds := [...]partyKind{guardParty, guardParty, memoryParty, memoryParty, plainParty, localParty, inlineParty, inlinePlainParty}
		k := kinds[r.IntN(len(kinds))]
		s.parties = append(s.parties, k)
	}
	s.clients, s.perClient = 2+r.IntN(4), 3+r.IntN(8)
	s.segment = int64(4+4*r.IntN(4)) << 10
	s.limit, s.retention = 1_000_000, time.Hour
	if limit := 1 + r.IntN(8); faults&Forgets != 0 && r.IntN(2) == 0 {
		s.limit = limit
	} else if faults&Forgets != 0 {
		s.retention = time.Duration(1+r.IntN(5000)) * time.Millisecond
	}
	s.most = 100_000
	if most := 3 + r.IntN(6); faults&Crowds != 0 {
		s.most = most
	}
	odd := func(list ...time.Duration) time.Duration {
		return list[r.IntN(len(list))] + time.Duration(r.IntN(1_000_000))
	}
	s.sweep = odd(2*time.Second, 10*time.Second, time.Minute)
	s.finishCap = odd(time.Second, 5*time.Second, 30*time.Second)
	s.prepareLimit = odd(500*time.Millisecond, 2*time.Second, 5*time.Second)
	s.completionWait = odd(0, 100*time.Millisecond, time.Second) - 100*time.Microsecond
	s.lifetime = odd(2*time.Second, 20*time.Second)
	s.concurrency = [...]int{2, 3, 64}[r.IntN(3)]
	s.crashes = r.IntN(5)
	s.think = [...]time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second}[r.IntN(4)]
	if faults&OnePhases != 0 {
		s.onePhases(stream(seed, 7))
	}
	return s
}

// What things take when nothing is wrong.
var (
	instant   = span{}
	quick     = span{time.Microsecond, 100 * time.Microsecond}
	netDelay  = span{50 * time.Microsecond, 5 * time.Millisecond}
	workDelay = span{10 * time.Microsecond, 5 * time.Millisecond}
	diskDelay = span{time.Microsecond, 50 * time.Microsecond}
	syncDelay = span{50 * time.Microsecond, 10 * time.Millisecond}
)
