/*
 * metrics - what the overview and the scoreboards say, for Prometheus.
 *
 * Owns:      the metrics' names, which are in preforkd-handlers(7) and stay as they are.
 * Knows not: HTTP.
 * Called by: the handler status.
 * Runs in:   any process that has them mapped, be it for reading alone; see status.h.
 */
#ifndef PREFORKD_REPORTS_METRICS_H
#define PREFORKD_REPORTS_METRICS_H

#include "../board/overview.h"
#include "procstat.h"

enum metrics_format {
    METRICS_TEXT, /* Prometheus' text format 0.0.4 */
    METRICS_OPEN, /* OpenMetrics 1.0 */
};

/* A text from malloc(), its last line "# EOF"; NULL if there is no memory. */
char *metrics_text(const struct view *view, const struct procstat *figures, usec now,
                   enum metrics_format format);

#endif
