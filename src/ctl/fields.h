/*
 * fields - values of the daemon's JSON, read without trust in it: a key may be missing, or have
 * another type.
 *
 * Called by: status_view, arrange, report. Not there if the build has no jansson.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_FIELDS_H
#define PREFORKD_CTL_FIELDS_H

#include "../base/clock.h"

#include <jansson.h>
#include <stdbool.h>

/* A text, fit for a terminal (text_clean) and cut to FIELD_TEXT; empty if there is none. */
enum { FIELD_TEXT = 2048 };
struct field {
    char text[FIELD_TEXT];
};
const char *field_text(const json_t *object, const char *key, struct field *field);

/* A number; 0 if there is none. */
long long field_number(const json_t *object, const char *key);

/* Seconds; -1 if there are none. */
usec field_span(const json_t *object, const char *key);

bool field_has(const json_t *object, const char *key); /* and it is not null */

#endif
