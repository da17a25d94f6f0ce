package dtc

import "github.com/dtc-project/dtc/txlog"

// refSet is a set of transactions by their place in the log: one bit for each,
// in pages of 65,536.
type refSet map[refPage]*[1024]uint64

type refPage struct {
	incarnation uint32
	page        uint64
}

func (s refSet) add(r txlog.Ref) {
	at := refPage{r.Incarnation, r.Seq >> 16}
	page := s[at]
	if page == nil {
		page = new([1024]uint64)
		s[at] = page
	}
	page[r.Seq>>6&1023] |= 1 << (r.Seq & 63)
}

func (s refSet) has(r txlog.Ref) bool {
	page := s[refPage{r.Incarnation, r.Seq >> 16}]
	return page != nil && page[r.Seq>>6&1023]&(1<<(r.Seq&63)) != 0
}
