#include "fields.h"

#include "../base/text.h"

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
    static const double most = 1e12; /* seconds: in usec it is an integer of 64 bits */
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
