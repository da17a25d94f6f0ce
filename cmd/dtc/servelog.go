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
	opts := &slog.HandlerOptions{Level: cfg.Level()}
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
