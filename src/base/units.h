/*
 * units - times, durations and sizes, as people read them.
 *
 * Called by: json, reports/, ctl.
 * Runs in:   any process.
 */
#ifndef PREFORKD_BASE_UNITS_H
#define PREFORKD_BASE_UNITS_H

#include "clock.h"

enum { UNITS_TEXT = 48 };

/* Writes a duration: "3d 4h", "4h 5m", "5m 6s", "12.3 s", "85 ms", "40 us". */
const char *units_span(usec span, char text[static UNITS_TEXT]);

/* Writes a time of the wall clock, of the place where we are: "2026-11-22T18:30:05+01:00"; "?"
 * if it is none. */
const char *units_time(usec real, char text[static UNITS_TEXT]);

/* Writes a number of bytes: "512 B", "12.3 MiB". */
const char *units_size(int64_t bytes, char text[static UNITS_TEXT]);

#endif
