package explore

import "strings"

// reduction is a way to walk fewer states and to see the same. All are on unless
// [Rules].Without names them, which only tests do. Why each is sound stands in
// the package comment.
type reduction uint8

const (
	interchange reduction = 1 << iota // branches of one kind may change places
	oblivion                          // what nobody reads again is not told apart
	uncounted                         // crashes and cold starts are not counted
	answersNow                        // answers that cost nothing are given at once
	lowWaterNow                       // low water is sent, and taken, at once
	listingNow                        // the sweep lists at once

	allReductions = listingNow<<1 - 1
)

var reductionNames = [...]string{
	"interchange", "oblivion", "uncounted", "answers now", "low water now", "listing now",
}

// String names the reductions.
func (by reduction) String() string {
	names := []string{}
	for i, name := range reductionNames {
		if by&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "no reduction"
	}
	return strings.Join(names, ", ")
}

func (r *Rules) reduces(by reduction) bool { return r.Without&by == 0 }

// coldAnswers reports whether participants may answer as if they were cold, at
// any time.
func (r *Rules) coldAnswers() bool { return r.reduces(uncounted) && r.Colds > 0 }

// mayCrash reports whether the coordinator may crash (once more).
func (w *world) mayCrash(r *Rules) bool {
	return r.Crashes > 0 && (w.crashes < r.Crashes || r.reduces(uncounted))
}

// mayChill reports whether a participant may crash and stay cold for a while.
func (w *world) mayChill(r *Rules, i int) bool {
	return !r.reduces(uncounted) && !w.branch[i].cold && w.colds < r.Colds
}
