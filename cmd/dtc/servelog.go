package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/dtc-project/dtc/cmd/dtc/internal/config"
)

// newLogger returns the log of a server: text for people at a terminal, JSON for what
// collects logs.
func newLogger(cfg *config.Config, to io.Writer) *slog.Logger {
	return newLoggerAt(cfg, cfg.Level(), to)
}

// newAudit returns the log of what operators do, which is written at warn: no level of the
// server's log leaves that out.
func newAudit(cfg *config.Config, to io.Writer) *slog.Logger {
	return newLoggerAt(cfg, min(cfg.Level(), slog.LevelWarn), to)
}

func newLoggerAt(cfg *config.Config, level slog.Level, to io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "text" || cfg.LogFormat == "auto" && terminal(to) {
		return slog.New(slog.NewTextHandler(to, opts))
	}
	return slog.New(slog.NewJSONHandler(to, opts))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
