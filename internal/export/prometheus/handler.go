package prometheus

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/scaph/scaph/internal/web"
)

// handler serves metrics. The server compresses them, and bounds how many scrapes there are at a time.
func handler(source Source, tree TreeCounters, build Build, log *slog.Logger) http.Handler {
	metrics := promhttp.HandlerForTransactional(NewGatherer(source, tree, build), promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		// Prometheus stores them as series of their own, unless it knows creation times; see docs/metrics.md.
		EnableOpenMetricsTextCreatedSamples: true,
		DisableCompression:                  true,
		ErrorHandling:                       promhttp.ContinueOnError, // errors are about process_* only
		ErrorLog:                            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if source.Latest() == nil {
			// An empty page would look as if every series had ended.
			web.Answer(w, http.StatusServiceUnavailable, "no measurement yet")
			return
		}
		metrics.ServeHTTP(w, r)
	})
}
