package dtchttp

import (
	"encoding/json"
	"net/http"
	"strings"
)

// partProblem is an answer that is no success, as RFC 9457 words it. State is
// what a 409 to a commit or rollback must say.
type partProblem struct {
	Type        string `json:"type"`
	Title       string `json:"title"`
	Status      int    `json:"status"`
	Detail      string `json:"detail,omitempty"`
	Code        string `json:"code"`
	Participant string `json:"participant,omitempty"`
	Field       string `json:"field,omitempty"`
	State       string `json:"state,omitempty"`
	// RememberedSince goes with an unknown transaction; a nil *Time in it is null.
	RememberedSince any `json:"remembered_since,omitempty"`
}

func partTrouble(status int, code, detail string) *partProblem {
	return &partProblem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code,
		Detail: partShorten(strings.ToValidUTF8(detail, ""), partMaxReason),
	}
}

func (p *partProblem) write(w http.ResponseWriter) {
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	partWrite(w, p.Status, "application/problem+json", p)
}

// partWrite sends an answer. Whoever asked may have gone away meanwhile; then it
// asks again, and there is nobody to tell an error to.
func partWrite(w http.ResponseWriter, status int, media string, answer any) {
	text, err := json.Marshal(answer)
	if err != nil { // it holds strings, numbers and times of our own
		status, text = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
