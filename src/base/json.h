/*
 * json - JSON over jansson: writes documents, one key at a time, and reads keys without trusting
 * the document.
 *
 * If memory is short, keys are missing. Only built with jansson.
 */
#ifndef PREFORKD_BASE_JSON_H
#define PREFORKD_BASE_JSON_H

#include "../base/clock.h"
#include "clock.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Each adds one key to an object. */
void json_number(json_t *object, const char *key, long long number);
void json_flag(json_t *object, const char *key, bool set);
void json_seconds(json_t *object, const char *key, usec span);     /* to the millisecond */
void json_exact(json_t *object, const char *key, usec span);       /* to the microsecond */
void json_time(json_t *object, const char *key, usec real);        /* null for 0 */
void json_text(json_t *object, const char *key, const char *text); /* null for "" and NULL */

/* The same for optional values: null for the number 0, or a span below 0. */
void json_number_or_null(json_t *object, const char *key, long long number);
void json_seconds_or_null(json_t *object, const char *key, usec span);

/* A text of unknown content, cleaned by text_clean. At most JSON_FIELD bytes. */
enum { JSON_FIELD = 512 };
void json_field(json_t *object, const char *key, const char *field, size_t size);

/* Frees the document, and returns it as a line of text from malloc(). NULL: no memory. */
char *json_print(json_t *document);

/* The field_ functions read a value that may be missing or have another type. */

/* A text, made fit for a terminal by text_clean and cut to FIELD_TEXT; empty if there is none. */
enum { FIELD_TEXT = 2048 };
struct field {
    char text[FIELD_TEXT];
};
const char *field_text(const json_t *object, const char *key, struct field *field);

/* A number; 0 if there is none. */
long long field_number(const json_t *object, const char *key);

/* Seconds; -1 if there are none. */
usec field_span(const json_t *object, const char *key);

/* Whether the key is there, and not null. */
bool field_has(const json_t *object, const char *key);

#endif
