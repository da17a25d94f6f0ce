package telemetry

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

// participant holds the children of one participant.
type participant struct{ ops [numOps]opMetrics }

type opMetrics struct {
	results  [numResults]prometheus.Counter // nil where the op cannot have it
	duration prometheus.Observer
	retries  prometheus.Counter
}

// participant returns the children of a participant, made if needed. The id is that
// of a participant which is called, so it stood in the configuration.
func (m *Metrics) participant(id string) *participant {
	if p := (*m.participants.Load())[id]; p != nil {
		return p
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.participants.Load()
	if p := old[id]; p != nil {
		return p
	}
	p := new(participant)
	for o := range numOps {
		p.ops[o].duration = m.opDuration.WithLabelValues(id, o.String())
		p.ops[o].retries = m.retries.WithLabelValues(id, o.String())
		for _, r := range possible[o] {
			p.ops[o].results[r] = m.ops.WithLabelValues(id, o.String(), r.String())
		}
	}
	all := maps.Clone(old)
	all[id] = p
	m.participants.Store(&all)
	return p
}

// tidy makes the children of the participants that there are, so that a counter is 0
// before it is 1, and forgets the participants that are gone and have no branches. What
// is counted for one in the same moment may be lost.
func (m *Metrics) tidy() {
	w := m.watched.Load()
	if w == nil {
		return
	}
	there := map[string]bool{}
	for _, p := range w.coordinator.Participants() {
		there[p.ID] = true
		m.participant(p.ID)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.participants.Load()
	all := maps.Clone(old)
	for id := range old {
		if there[id] {
			continue
		}
		delete(all, id)
		labels := prometheus.Labels{"participant": id}
		m.ops.DeletePartialMatch(labels)
		m.opDuration.DeletePartialMatch(labels)
		m.retries.DeletePartialMatch(labels)
	}
	if len(all) != len(old) {
		m.participants.Store(&all)
	}
}
