package dtchttp

import (
	"context"
	"runtime/debug"
	"strings"
	"sync"
)

type callTraceKey struct{}

// WithTraceparent returns a context with which calls of a [Participant] carry the
// given W3C traceparent ("00-<32 hex digits>-<16 hex digits>-<2 hex digits>"). Any
// other text is ignored, as that standard asks: a broken trace must not break a
// transaction. The coordinator hands the values of its caller's context on to
// participants, in phase two as well, but after a restart there is none.
func WithTraceparent(ctx context.Context, traceparent string) context.Context {
	if !callGoodTrace(traceparent) {
		return ctx
	}
	return context.WithValue(ctx, callTraceKey{}, traceparent)
}

// Traceparent returns the traceparent of a context, or "" if it has none. A
// participant that is served by [NewParticipantHandler] gets the caller's.
func Traceparent(ctx context.Context) string {
	s, _ := ctx.Value(callTraceKey{}).(string)
	return s
}

func callGoodTrace(s string) bool {
	// A later version may append fields; what stands in front is as in this one.
	if len(s) < 55 || len(s) > 256 || len(s) > 55 && s[55] != '-' || s[:2] == "ff" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		dash := i == 2 || i == 35 || i == 52
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
		switch {
		case i >= 55:
			if c <= ' ' || c > '~' {
				return false
			}
		case dash && c != '-', !dash && !hex:
			return false
		}
	}
	return true
}

// callUserAgent names this library and its version in the program it is built
// into.
var callUserAgent = sync.OnceValue(func() string {
	const module = "github.com/dtc-project/dtc"
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if (m.Path == module || strings.HasPrefix(m.Path, module+"/cmd/")) && m.Version != "" && m.Version != "(devel)" {
				version = strings.TrimPrefix(m.Version, "v")
				break
			}
		}
	}
	return "dtc/" + version
})
