#include "json.h"

#include "text.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

void json_number(json_t *object, const char *key, long long number)
{
    json_object_set_new(object, key, json_integer(number));
}

void json_number_or_null(json_t *object, const char *key, long long number)
{
    json_object_set_new(object, key, number ? json_integer(number) : json_null());
}

void json_flag(json_t *object, const char *key, bool set)
{
    json_object_set_new(object, key, json_boolean(set));
}

void json_seconds(json_t *object, const char *key, usec span)
{
    json_object_set_new(object, key, json_real((double)(span / 1000) / 1000));
}

void json_seconds_or_null(json_t *object, const char *key, usec span)
{
    if (span < 0)
        json_object_set_new(object, key, json_null());
    else
        json_seconds(object, key, span);
}

void json_exact(json_t *object, const char *key, usec span)
{
    json_object_set_new(object, key, json_real(clock_seconds(span)));
}

void json_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text && text[0] ? json_string(text) : json_null());
}

void json_time(json_t *object, const char *key, usec real)
{
    char text[UNITS_TEXT];
    json_text(object, key, real ? units_time(real, text) : NULL);
}

void json_field(json_t *object, const char *key, const char *field, size_t size)
{
    char text[TEXT_CLEAN(JSON_FIELD)];
    json_text(object, key, text_clean(text, sizeof text, field, size));
}

char *json_print(json_t *document)
{
    enum { EXACT = 15 }; /* decimal digits that a double keeps: 93.1 stays 93.1 */
    char *text = document ? json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(EXACT)) : NULL;
    json_decref(document);
    size_t length = text ? strlen(text) : 0;
    char *line = text ? realloc(text, length + 2) : NULL;
    if (line)
        memcpy(line + length, "\n", 2);
    else
        free(text);
    return line;
}

const char *field_text(const json_t *object, const char *key, struct field *field)
{
    const json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    return text_clean(field->text, sizeof field->text, text ? text : "", json_string_length(value));
}

long long field_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

usec field_span(const json_t *object, const char *key)
{
    static const double most = 1e12; /* seconds: fits 64 bits in usec */
    const json_t *value = json_object_get(object, key);
    double seconds = json_number_value(value);
    if (!json_is_number(value) || !(seconds >= 0))
        return -1;
    return (usec)((seconds < most ? seconds : most) * USEC_SECOND + 0.5);
}

bool field_has(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value);
}
