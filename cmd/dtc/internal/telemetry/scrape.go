package telemetry

import (
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/wal"
)

// watched is what is asked at a scrape.
type watched struct {
	coordinator *dtc.Coordinator
	dir         string
	certificate func() time.Time // may be nil
}

// Watch makes the coordinator be asked at each scrape, and the directory of its log
// measured. Certs returns when the server's certificate expires; nil means that it
// has none.
func (m *Metrics) Watch(c *dtc.Coordinator, _ *wal.Log, dir string, certs func() time.Time) {
	m.watched.Store(&watched{c, dir, certs})
}

// scrape collects what is asked for at each scrape.
type scrape struct{ m *Metrics }

var (
	active      = prometheus.NewDesc("dtc_transactions_active", "Transactions that are not finished everywhere.", []string{"state"}, nil)
	inDoubt     = prometheus.NewDesc("dtc_in_doubt", "Branches that are not finished at the participant.", []string{"participant"}, nil)
	oldest      = prometheus.NewDesc("dtc_in_doubt_oldest_seconds", "Age of the oldest transaction with a branch that is not finished; 0 without one.", nil, nil)
	orphans     = prometheus.NewDesc("dtc_orphan_prepared", "Branches that the participant holds prepared and no transaction owns, as of the last sweep.", []string{"participant"}, nil)
	hold        = prometheus.NewDesc("dtc_recovery_hold", "1 while a recovery hold keeps everything of earlier runs from being presumed, otherwise 0.", nil, nil)
	logBytes    = prometheus.NewDesc("dtc_log_bytes", "Size of the files in the directory of the log.", nil, nil)
	logFree     = prometheus.NewDesc("dtc_log_free_bytes", "Space that is free on the file system of the log.", nil, nil)
	certificate = prometheus.NewDesc("dtc_tls_cert_expiry_seconds", "Time until the server's certificate expires; negative afterwards.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (scrape) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{active, inDoubt, oldest, orphans, hold, logBytes, logFree, certificate} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (s scrape) Collect(ch chan<- prometheus.Metric) {
	w := s.m.watched.Load()
	if w == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for state, n := range w.coordinator.ActiveByState() {
		gauge(active, float64(n), state)
	}
	age, now := time.Duration(0), time.Now()
	for _, p := range w.coordinator.Participants() {
		gauge(inDoubt, float64(p.Unfinished), p.ID)
		gauge(orphans, float64(p.Orphans), p.ID)
		if !p.Oldest.IsZero() {
			age = max(age, now.Sub(p.Oldest))
		}
	}
	gauge(oldest, age.Seconds())
	held := 0.0
	if _, ok := w.coordinator.Held(); ok {
		held = 1
	}
	gauge(hold, held)
	if n, err := size(w.dir); err == nil {
		gauge(logBytes, float64(n))
	}
	if n, err := free(w.dir); err == nil {
		gauge(logFree, float64(n))
	}
	if w.certificate != nil {
		if at := w.certificate(); !at.IsZero() {
			gauge(certificate, at.Sub(now).Seconds())
		}
	}
}

// size returns the size of the files in a directory.
func size(dir string) (n int64, err error) {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() { // else it is gone by now
			n += info.Size()
		}
	}
	return n, err
}
