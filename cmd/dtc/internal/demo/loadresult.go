package demo

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/dtc-project/dtc/dtctest"
)

// Load is what became of the many orders.
type Load struct {
	Seed       uint64         `json:"seed"`
	Orders     int            `json:"orders"`
	Committed  int            `json:"committed"`
	RolledBack map[string]int `json:"rolled_back"` // by reason
	Retries    int            `json:"retries"`
	Lost       int            `json:"messages_lost"` // requests and answers
	Late       int            `json:"messages_late"`
	Twice      int            `json:"messages_twice"`
	Died       int            `json:"services_died"`
	Recovered  int            `json:"recovered"` // decided, and finished only after retries
	Took       time.Duration  `json:"took_ns"`
}

func (l *Load) inject(fault dtctest.Fault, n int) {
	switch fault {
	case dtctest.Drop, dtctest.LoseAnswer, dtctest.CrashAfter:
		l.Lost += n
	case dtctest.Late:
		l.Late += n
	case dtctest.Duplicate, dtctest.Echo:
		l.Twice += n
	case dtctest.NoFault, dtctest.AtOnce, dtctest.Delay, dtctest.Hang, dtctest.HangPast, dtctest.CrashBefore:
		// Not among the rates.
	}
}

func (l *Load) print(s *story) {
	rolled := 0
	for _, n := range l.RolledBack {
		rolled += n
	}
	row := func(name string, n int, what string) { s.printf("   %-14s %6d   %s\n", name, n, what) }
	row("committed", l.Committed, fmt.Sprintf("in %s", short(l.Took)))
	row("rolled back", rolled, "why, and who caused it:")
	for _, reason := range slices.Sorted(maps.Keys(l.RolledBack)) {
		s.printf("   %23s %6d  %s\n", "", l.RolledBack[reason], reason)
	}
	row("messages lost", l.Lost, fmt.Sprintf("requests or answers; %d more were late, %d came twice", l.Late, l.Twice))
	row("retries", l.Retries, "a message is repeated until it is answered")
	row("recovered", l.Recovered, "orders that were finished everywhere only after retries")
}
