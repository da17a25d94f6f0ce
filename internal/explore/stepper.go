package explore

// stepper is a kind of worlds, as a walker knows it: R are their rules, W is a state, and M
// is something that may happen in one. It stands in one state at a time.
//
// What a walk proves rests on this. A state is a value: who copies it has another one, and
// what both point to is never changed. moves, heal and key change nothing. All that they
// return, and all that make does, follows from the rules and the state.
type stepper[R, W, M any] interface {
	// in says in which state everything else is done.
	in(w *W)
	// key appends bytes that are equal for two states only if the same can happen in both
	// for ever.
	key(r *R, dst []byte) []byte
	// moves appends everything that may happen next.
	moves(r *R, dst []M) []M
	// heal returns what happens next in a world that is left in peace, and false when it
	// has come to rest.
	heal(r *R) (M, bool)
	// make makes a move, and checks what the state is then.
	make(m M)
	// checkRest checks a state in which a world that was left in peace has come to rest.
	checkRest()
	// noted is where make and checkRest note what is wrong.
	noted() *notes
}

// notes are what a stepper says of its steps.
type notes struct {
	only string // the invariant to look for, if not all
	// hasty ends the walk when a world left in peace goes wrong. If it is not set, the walk
	// goes on, unless the world does not come to rest: there may be a shorter way to it.
	hasty bool
	wrong string            // the invariant that is violated, or empty
	why   string            // how
	say   func(what string) // nil unless a trace is written: then each move says what happens
}

func (n *notes) noted() *notes { return n }

// fail notes a violation; the first one counts.
func (n *notes) fail(invariant, why string) {
	if n.wrong == "" && (n.only == "" || n.only == invariant) {
		n.wrong, n.why = invariant, why
	}
}

// watch looks on while a world is walked; any of it may be nil.
type watch[W, M any] struct {
	state func(w *W)             // each state, once, before its moves; it stays until the next
	step  func(from, to *W, m M) // each move that is right; to stays until step returns
	rest  func(w *W)             // where a world left in peace comes to rest, likewise
}
