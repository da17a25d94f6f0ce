package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/dtc-project/dtc/cmd/dtc/internal/audit"
)

// Summary is the demo's result for programs.
type Summary struct {
	OK        bool          `json:"ok"`
	Data      string        `json:"data,omitempty"` // where everything was kept
	LastOrder string        `json:"last_order"`     // of the acts
	Killed    *Killed       `json:"killed"`
	Load      *Load         `json:"orders,omitempty"`
	Invariant []audit.Check `json:"invariant"`
}

// check looks at the three files when nothing runs any more.
func (d *demo) check(ctx context.Context) (*Summary, error) {
	books, err := audit.Open(ctx, d.dir)
	if err != nil {
		return nil, err
	}
	defer books.Close()
	checks, err := books.Invariant(ctx)
	if err != nil {
		return nil, err
	}
	truth, err := d.truth(ctx, books)
	if err != nil {
		return nil, err
	}
	d.sum.Invariant = append(checks, truth)
	d.sum.OK = true
	d.printf("\n%s\n", d.bold("The three files, read with plain SQL, when all is over"))
	for _, c := range d.sum.Invariant {
		verdict := d.good("ok  ")
		if !c.Held {
			verdict = d.bad("FAIL")
			d.sum.OK = false
		}
		d.printf("   %s %-9s %s\n", verdict, c.Name, c.Detail)
	}
	if !d.sum.OK {
		d.printf("\n%s\n", d.bad("FAILED: the databases contradict each other"))
		return &d.sum, ErrInvariant
	}
	d.printf("\n%s\n", d.good("OK: every order is in all three databases or in none"))
	return &d.sum, nil
}

// truth: what the callers of this run were told is what the files say.
func (d *demo) truth(ctx context.Context, books *audit.Books) (audit.Check, error) {
	c := audit.Check{Name: "answers", Held: true}
	ids := slices.Sorted(maps.Keys(d.told))
	has, err := books.Has(ctx, ids)
	if err != nil {
		return c, err
	}
	committed := 0
	for _, id := range ids {
		if d.told[id] {
			committed++
		}
		if d.told[id] != has[id] && c.Held {
			c.Held, c.Detail = false, fmt.Sprintf("%s: told committed is %v, in the files is %v", id, d.told[id], has[id])
		}
	}
	if c.Held {
		c.Detail = fmt.Sprintf("in this run %d callers were told committed, %d rolled back, and so it is",
			committed, len(ids)-committed)
	}
	return c, nil
}
