package sim

import (
	"time"

	"github.com/dtc-project/dtc"
)

// grownRequest is the request of all that is grown by code under an id: it has no
// fingerprint, and joins by the id alone.
const grownRequest = 2

// op is what the history has of a call of which nothing was heard yet.
func (w *world) op(j *job, client int, began time.Duration) Op {
	op := Op{
		Kind: j.kind, Client: client, ID: string(j.id), Request: j.request,
		ReadOnly: onlyReads(j.orders), Call: began, Return: -1,
	}
	if j.kind == OpExecute {
		op.OnePhase, op.Evidence = j.once && (j.style == stepping || len(j.orders) == 1), w.evidence(j)
	}
	if j.style != executing {
		// Who joins one that is grown by steps may commit it before the other has
		// added its branches.
		op.Request, op.ReadOnly, op.Grown, op.Steps = grownRequest, j.reads, true, j.style == stepping
	}
	return op
}

// onlyReads reports whether nobody is asked to write anything.
func onlyReads(orders []dtc.Branch) bool {
	for _, b := range orders {
		if orderOf(b.Payload).vote != 'r' {
			return false
		}
	}
	return true
}
