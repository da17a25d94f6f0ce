package failpoint_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestLibrary(t *testing.T) {
	s := newSum()
	f := library{build(t, "child", "failpoint")}
	r := rehearse(newWorld(t, s, f), 60, true)
	all := slices.DeleteFunc(names(t), ofServer)
	t.Run("points", func(t *testing.T) {
		rec := slices.Sorted(maps.Keys(r.recovering))
		for i, p := range all {
			t.Run(strings.ReplaceAll(p, "/", "-"), func(t *testing.T) {
				t.Parallel()
				n := max(r.fresh[p], r.working[p])/2 + 1
				scenario(newWorld(t, s, f), r, p, 60, n, others(rec, i, 2))
			})
		}
	})
	t.Log(s.lives, s.judged, s.missed, total(s.hits), total(s.kills), total(s.inRecovery), len(s.kills), len(s.inRecovery))
	wantAll(t, all, s)
}

// ofServer reports whether only a server, or a participant over HTTP, has a point.
func ofServer(point string) bool {
	group, _, _ := strings.Cut(point, "/")
	return group == "serve" || group == "http" || group == "part"
}
