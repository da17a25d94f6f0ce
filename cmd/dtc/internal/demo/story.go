package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dtc-project/dtc/cmd/dtc/internal/shop"
)

// story tells people what happens, line by line. Its methods may be called
// concurrently.
type story struct {
	mu sync.Mutex
	w  io.Writer
	style
	lost error // the first that kept a line from being written

	order     shop.Order      // of which is told
	first     string          // the order of which all is told
	brief     bool            // not of each vote
	asked     map[string]bool // verbs that are under way
	yes       []string        // who voted commit
	failedAt  map[string]time.Time
	waited    map[string]time.Duration // between the last two calls of a participant
	seen      map[string]int           // how often what was told of, by kind and verb
	news      *sync.Cond               // seen has grown
	explained map[string]bool

	unfinished int // transactions that the last opening of the log found
}

func newStory(w io.Writer) *story {
	s := &story{w: w, style: styleOf(w), explained: map[string]bool{}}
	s.news = sync.NewCond(&s.mu)
	s.begin(shop.Order{}, false)
	return s
}

// begin tells of another order from now on; briefly, if the act is not about its
// votes.
func (s *story) begin(o shop.Order, brief bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order, s.yes, s.brief = o, nil, brief
	if s.first == "" {
		s.first = o.ID
	}
	s.asked, s.seen = map[string]bool{}, map[string]int{}
	s.failedAt, s.waited = map[string]time.Time{}, map[string]time.Duration{}
}

func (s *story) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write(format, args...)
}

// write writes to whom the story is told. The caller holds s.mu.
func (s *story) write(format string, args ...any) {
	if _, err := fmt.Fprintf(s.w, format, args...); err != nil && s.lost == nil {
		s.lost = err // the story goes on if nobody listens; the end says so
	}
}

// line prints who does what, and what that means.
func (s *story) line(who, what, meaning string, paint func(string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(who, what, meaning, paint)
}

func (s *story) put(who, what, meaning string, paint func(string) string) {
	if paint == nil {
		paint = func(s string) string { return s }
	}
	// Painted after padding: escapes have no width.
	s.write("   %-12s %s %s\n", who, paint(fmt.Sprintf("%-12s", what)), meaning)
}

func (s *story) heading(n int, text string) {
	s.printf("\n%s\n", s.bold(fmt.Sprintf("%d  %s", n, text)))
}

func (s *story) say(format string, args ...any) { s.printf("   "+format+"\n", args...) }

// tell tells one step of the protocol.
func (s *story) tell(e event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Tx == s.order.ID && e.Tx != "" {
		switch e.Kind {
		case appended:
			s.appended(e)
		case forced:
			s.forced(e)
		case calling:
			s.calling(e)
		case called:
			s.called(e)
		case hazard:
			s.put(e.Participant, "HAZARD", "it broke its promise", s.bad)
		case retrying, decided, ended, recovered:
		}
	}
	if e.Kind == recovered {
		s.unfinished = e.Unfinished
	}
	if e.Kind == recovered && e.Unfinished > 0 && s.order.ID != "" {
		s.put("RESTART", "recovery", fmt.Sprintf("a new coordinator reads the log, %d records: %d decided, not finished",
			e.Records, e.Unfinished), s.mark)
	}
	key := strings.TrimSpace(string(e.Kind) + " " + e.Verb)
	s.seen[key]++
	s.news.Broadcast()
}

// once returns the long text the first time, and the short one from then on:
// who has read it once knows it.
func (s *story) once(short, long string) string {
	if s.explained[long] {
		return short
	}
	s.explained[long] = true
	return long
}

// aside tells once of what happens in the log every time.
func (s *story) aside(text string) {
	if s.once("", text) != "" {
		s.put("coordinator", "log", text, s.faint)
	}
}

func (s *story) appended(e event) {
	switch e.Record {
	case "prepare":
		s.aside("prepare record: who will be asked. Nobody waits for the disk yet")
	case "abort":
		s.put("coordinator", "DECISION", "roll back. Not forced: a log without a decision means rolled back", s.mark)
	case "end":
		s.aside("end record: all have answered, nothing is left to do")
	}
}

func (s *story) forced(e event) {
	if e.Record != "commit" {
		return
	}
	if e.Error != "" {
		s.put("coordinator", "log failed", e.Error, s.bad)
		return
	}
	took := ""
	if e.Took > 0 { // unknown of another process
		took = " in " + short(e.Took)
	}
	s.put("coordinator", "DECISION", "commit, forced to disk"+took+": from here on it will happen", s.mark)
}

// calling tells of the first message of a phase, for all whom it goes to.
func (s *story) calling(e event) {
	if at, failed := s.failedAt[e.Participant]; failed && e.Attempt > 1 {
		s.waited[e.Participant] = time.Since(at)
	}
	if s.asked[e.Verb] {
		return
	}
	s.asked[e.Verb] = true
	switch e.Verb {
	case "prepare":
		s.put("coordinator", "→ prepare", s.once("to all three", "to all three: do what can fail, keep it hidden, promise to finish"), nil)
	case "commit":
		s.put("coordinator", "→ commit", s.once("to all three, until each has answered", "to all three: make it visible; repeated until each has answered"), nil)
	case "rollback":
		s.put("coordinator", "→ rollback", "to "+strings.Join(s.yes, " and ")+": only they hold something", nil)
	}
}

func (s *story) called(e event) {
	did := s.order.Did(e.Participant, e.Verb)
	switch {
	case e.Verb == "prepare" && e.NoVote, e.Verb != "prepare" && e.Error != "":
		s.failedAt[e.Participant] = time.Now()
		s.put(e.Participant, "no answer", e.Error+s.attempt(e), s.wait)
	case e.Verb == "prepare" && e.Error == "" && e.Vote == "vote_commit":
		s.yes = append(s.yes, e.Participant)
		s.vote(e, did)
	case e.Verb == "prepare":
		s.put(e.Participant, "vote_abort", e.Error, s.bad)
	case e.Verb == "commit":
		s.put(e.Participant, "committed", did+s.attempt(e), s.good)
	case e.Verb == "rollback":
		s.put(e.Participant, "rolled back", did+s.attempt(e), s.wait)
	}
}

// vote tells of a vote to commit: in full of the first order, and where votes are
// not the point, of all three in one line.
func (s *story) vote(e event, did string) {
	switch {
	case s.first == s.order.ID:
		s.put(e.Participant, e.Vote, did+", and that promise is on disk", s.good)
	case !s.brief:
		s.put(e.Participant, e.Vote, did, s.good)
	case len(s.yes) == len(shop.Names):
		var all []string
		for _, name := range shop.Names {
			all = append(all, s.order.Did(name, e.Verb))
		}
		s.put("all three", e.Vote, strings.Join(all, "; "), s.good)
	}
}

// attempt says of a repeated message which one it was, and how long after the
// last one it was sent.
func (s *story) attempt(e event) string {
	waited, again := s.waited[e.Participant]
	if !again {
		return ""
	}
	return fmt.Sprintf(" (attempt %d, after a wait of %s)", e.Attempt, short(waited))
}

// await waits until n events of a kind (and verb) were told of the order, and
// returns whether that happened in time.
func (s *story) await(key string, n int) bool {
	over := false
	timer := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		s.news.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.seen[key] < n && !over {
		s.news.Wait()
	}
	return s.seen[key] >= n
}

// short prints a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
