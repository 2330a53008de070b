/*
 * json - a JSON document, a key at a time, over jansson: how our times and texts look in JSON.
 *
 * If memory is wanting, keys are missing. Not there if the build has no jansson.
 */
#ifndef PREFORKD_BASE_JSON_H
#define PREFORKD_BASE_JSON_H

#include "../base/clock.h"
#include "clock.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Each puts one key into an object. */
void json_number(json_t *object, const char *key, long long number);
void json_flag(json_t *object, const char *key, bool set);
void json_seconds(json_t *object, const char *key, usec span);     /* to the millisecond */
void json_exact(json_t *object, const char *key, usec span);       /* to the microsecond */
void json_time(json_t *object, const char *key, usec real);        /* null: 0 */
void json_text(json_t *object, const char *key, const char *text); /* null: empty or NULL */

/* The same of something that may not be there: null if it is 0, or a span below. */
void json_number_or_null(json_t *object, const char *key, long long number);
void json_seconds_or_null(json_t *object, const char *key, usec span);

/* And of a field of unknown content: see text_clean. At most JSON_FIELD bytes. */
enum { JSON_FIELD = 512 };
void json_field(json_t *object, const char *key, const char *field, size_t size);

/* The document as a line of text from malloc(), and gives it back. NULL: no memory. */
char *json_print(json_t *document);

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
