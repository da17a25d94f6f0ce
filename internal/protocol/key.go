package protocol

// Clone returns an independent copy, for programs that explore several futures.
func (t *Tx) Clone() *Tx {
	c := *t
	c.branches = append([]branch(nil), t.branches...)
	return &c
}

// AppendKey appends bytes that are equal for two transactions exactly if they
// behave alike for ever.
func (t *Tx) AppendKey(dst []byte) []byte {
	dst = append(dst, byte(t.state), byte(t.outcome), byte(t.why), byte(t.whose+1),
		byte(t.stopped), bits(t.logged, t.once, t.mayBeDone), byte(len(t.branches)))
	for i := range t.branches {
		b := &t.branches[i]
		dst = append(dst, byte(b.state), byte(b.vote), byte(b.open),
			bits(b.plain, b.touched, b.voted, b.reached, b.preparing, b.hung, b.finishing, b.waiting),
			bits(b.acked, b.refused, b.told, b.again, b.quarantine, b.heuristic, b.done, b.stating))
	}
	return dst
}

func bits(flags ...bool) (n byte) {
	for i, f := range flags {
		if f {
			n |= 1 << i
		}
	}
	return n
}
