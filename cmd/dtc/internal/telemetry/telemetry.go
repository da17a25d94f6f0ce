// Package telemetry gives `dtc serve` its Prometheus metrics. What each of them
// means, and which to be woken by, stands in docs/reference/metrics.md.
//
//  1. No label is the id of a transaction, or anything else that a request brings.
//     Labels are the ids of participants and words of fixed lists.
//  2. The hooks look nothing up in Prometheus and allocate nothing, once a participant
//     has been called.
//  3. What can be asked for is asked for when Prometheus does, at a cost that does not
//     grow with the number of transactions.
//  4. A participant that left the configuration is forgotten when nothing is
//     unfinished there.
package telemetry

import (
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/wal"
)

// Metrics are the metrics of one server. All methods may be called concurrently.
type Metrics struct {
	registry *prometheus.Registry

	transactions *prometheus.CounterVec   // outcome, reason
	duration     *prometheus.HistogramVec // outcome
	ops          *prometheus.CounterVec   // participant, op, result
	opDuration   *prometheus.HistogramVec // participant, op
	retries      *prometheus.CounterVec   // participant, op
	forced       *prometheus.CounterVec   // outcome
	hazards      prometheus.Counter
	recovery     prometheus.Gauge
	syncDuration prometheus.Histogram
	groupSize    prometheus.Histogram

	// The children, so that nobody looks them up.
	committed, rolledBack ending
	forcedTo              map[dtc.Outcome]prometheus.Counter

	participants atomic.Pointer[map[string]*participant] // replaced, never changed
	mu           sync.Mutex                              // held while it is replaced

	watched atomic.Pointer[watched]
}

// ending counts the transactions of one outcome.
type ending struct {
	byReason []prometheus.Counter // by the code of the reason
	duration prometheus.Observer
}

// Upper bounds of the histograms. The disk has one at the 50 ms of its alert.
var (
	callBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	diskBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 10}
	sizeBuckets = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}
)

// New returns the metrics of a server, with those of the Go runtime and of the
// process, in a registry of their own.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(v)
		return v
	}
	m.transactions = counter("dtc_transactions_total", "Transactions whose outcome was told, by the reason if it is a rollback.", "outcome", "reason")
	m.duration = histogram("dtc_transaction_duration_seconds", "From the begin of a transaction until its outcome could be told.", callBuckets, "outcome")
	m.ops = counter("dtc_branch_ops_total", "Calls of participants, by what came back.", "participant", "op", "result")
	m.opDuration = histogram("dtc_branch_op_duration_seconds", "How long calls of participants took, with and without an answer.", callBuckets, "participant", "op")
	m.retries = counter("dtc_branch_retries_total", "Calls of participants that failed and are repeated after a wait.", "participant", "op")
	m.forced = counter("dtc_forced_total", "Branches that an operator declared to have ended so.", "outcome")
	m.hazards = counter("dtc_hazard_total", "Times at which a participant broke its promise, or a branch was finished against the decision.").WithLabelValues()
	m.recovery = gauge("dtc_recovery_duration_seconds", "How long reading the log took at the start.").WithLabelValues()
	m.syncDuration = histogram("dtc_log_sync_duration_seconds", "How long the disk took to make a group of log records durable.", diskBuckets).WithLabelValues().(prometheus.Histogram)
	m.groupSize = histogram("dtc_log_group_size", "Log records that one sync made durable.", sizeBuckets).WithLabelValues().(prometheus.Histogram)
	gauge("dtc_build_info", "1, with the version of dtc and of Go.", "version", "go_version").WithLabelValues(version, runtime.Version()).Set(1)

	m.committed, m.rolledBack = m.ending(dtc.Committed, 0), m.ending(dtc.RolledBack, dtc.ReasonForced)
	m.forcedTo = map[dtc.Outcome]prometheus.Counter{}
	for _, o := range []dtc.Outcome{dtc.Committed, dtc.RolledBack} {
		m.forcedTo[o] = m.forced.WithLabelValues(o.String())
	}
	m.participants.Store(&map[string]*participant{})
	m.registry.MustRegister(scrape{m}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ending looks up the children of an outcome whose reasons go up to last.
func (m *Metrics) ending(o dtc.Outcome, last dtc.Code) (e ending) {
	e.duration = m.duration.WithLabelValues(o.String())
	for code := dtc.Code(0); code <= last; code++ {
		reason := ""
		if code != 0 {
			reason = code.String()
		}
		e.byReason = append(e.byReason, m.transactions.WithLabelValues(o.String(), reason))
	}
	return e
}

// Log makes a log that is about to be opened tell of its syncs.
func (m *Metrics) Log(o *wal.Options) {
	next := o.Synced
	o.Synced = func(took time.Duration, records int) {
		m.syncDuration.Observe(took.Seconds())
		m.groupSize.Observe(float64(records))
		if next != nil {
			next(took, records)
		}
	}
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	h := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.tidy()
		h.ServeHTTP(w, r)
	})
}
