/*
 * metrics - the overview and the scoreboards as metrics for Prometheus.
 *
 * Owns:      the metrics' names, which preforkd-handlers(7) documents and which must not change.
 * Knows not: HTTP.
 * Called by: the handler status.
 * Runs in:   any process that has both mapped, even if only for reading; see status.h.
 */
#ifndef PREFORKD_REPORTS_METRICS_H
#define PREFORKD_REPORTS_METRICS_H

#include "../board/overview.h"
#include "procstat.h"

enum metrics_format {
    METRICS_TEXT, /* Prometheus' text format 0.0.4 */
    METRICS_OPEN, /* OpenMetrics 1.0 */
};

/* Returns a text from malloc() that ends with the line "# EOF"; NULL if memory is short. */
char *metrics_text(const struct view *view, const struct procstat *procstat,
                   enum metrics_format format);

#endif
