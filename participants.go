package dtc

import (
	"slices"
	"strings"
	"time"
)

// ParticipantInfo describes a participant at one moment.
type ParticipantInfo struct {
	ID         string
	Registered bool // false: branches wait for it
	Listing    bool // see [Lister]
	// State is up when the last call was answered, down while nothing answers and it
	// is only probed, and unknown before the first answer.
	State string
	// Unfinished is how many branches are not finished there, Oldest when the
	// transaction of the oldest one began, or the zero time.
	Unfinished int
	Oldest     time.Time
	// Orphans is how many branches it holds prepared that no transaction owns, as far
	// as the last sweep saw: they are being rolled back (then they are among the
	// unfinished), or left alone because somebody must look.
	Orphans   int
	LastError string // of a call without an answer, until there is one
}

// Participants returns the participants that are registered or have unfinished
// branches, by id.
func (c *Coordinator) Participants() []ParticipantInfo {
	var all []ParticipantInfo
	c.eachLane(func(l *lane) {
		r := l.p.Load()
		info := ParticipantInfo{ID: l.id, Registered: l.registered(), Listing: r.listing()}
		c.mu.Lock()
		info.Unfinished, info.Orphans = l.unfinished.len(), l.orphans+l.left
		heard := l.swept && r != nil
		if br, _ := l.unfinished.first(); br != nil {
			info.Oldest = br.tx.started
		}
		c.mu.Unlock()
		l.mu.Lock()
		switch {
		case l.down():
			info.State = "down"
		case l.heard || heard || l.inline():
			info.State = "up"
		default:
			info.State = "unknown"
		}
		if l.failures > 0 {
			info.LastError = l.lastError
		}
		l.mu.Unlock()
		if info.Registered || info.Unfinished > 0 {
			all = append(all, info)
		}
	})
	slices.SortFunc(all, func(a, b ParticipantInfo) int { return strings.Compare(a.ID, b.ID) })
	return all
}
