package node

import (
	"context"
	"log/slog"
	"strings"
)

// alarms is a log handler that turns errors into lines. A hold is what the test itself
// brings about.
type alarms struct{}

func (alarms) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (alarms) Handle(_ context.Context, r slog.Record) error {
	if Expected(r.Message) {
		return nil
	}
	text := r.Message
	r.Attrs(func(at slog.Attr) bool { text += " " + at.String(); return true })
	say("alarm %s", text)
	return nil
}

func (a alarms) WithAttrs([]slog.Attr) slog.Handler { return a }
func (a alarms) WithGroup(string) slog.Handler      { return a }

// Expected reports whether an error in the log belongs to a hold.
func Expected(message string) bool {
	return strings.HasPrefix(message, "the log may not be the whole truth") ||
		strings.HasPrefix(message, "a participant holds a branch in doubt that must not be presumed aborted")
}
