/*
 * http_accept - which form of the metrics a client asks for, by its header Accept (RFC 9110, 12.5.1).
 *
 * Called by: status.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_HANDLERS_HTTP_ACCEPT_H
#define PREFORKD_HANDLERS_HTTP_ACCEPT_H

#include "../reports/metrics.h"

/* The media types, by format. */
extern const char *const accept_types[];

/* OpenMetrics where it is asked for by its name, and nothing else is preferred to it. `accept` may
 * be NULL, or whatever a client writes. */
enum metrics_format accept_metrics(const char *accept);

#endif
