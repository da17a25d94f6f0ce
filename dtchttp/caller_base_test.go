package dtchttp

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestCallerBase: calls go to the base URL's path and one word more, however the base
// ends, and keep what is escaped in it.
func TestCallerBase(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.RequestURI
		_, _ = w.Write([]byte(`{"vote":"vote_commit"}`))
	}))
	defer s.Close()
	for base, want := range map[string]string{
		"": "/", "/": "/", "/base": "/base/", "/base/": "/base/", "/a/b": "/a/b/", "/a%2Fb": "/a%2Fb/",
	} {
		p := callParticipant(t, "stock", s.URL+base, nil)
		if _, err := p.Prepare(t.Context(), callBranch()); err != nil || got != want+"prepare" {
			t.Errorf("%q: asked %q, want %q: %v", base, got, want+"prepare", err)
		}
		if err := p.Commit(t.Context(), callBranch()); err != nil || got != want+"commit" {
			t.Errorf("%q: asked %q: %v", base, got, err)
		}
	}
}
