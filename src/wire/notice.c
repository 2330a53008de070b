#include "notice.h"

#include <limits.h>
#include <string.h>

/* The value of the line, or NULL if the line has another name. */
static const char *value_of(const char *line, size_t length, const char *name)
{
    size_t size = strlen(name);
    if (length > size && memcmp(line, name, size) == 0 && line[size] == '=')
        return line + size + 1;
    return NULL;
}

static bool is_word(const char *value, const char *end, const char *word)
{
    size_t length = strlen(word);
    return (size_t)(end - value) == length && memcmp(value, word, length) == 0;
}

/* 0 if the value is not a number, or is too large. */
static long long number_of(const char *value, const char *end)
{
    long long number = 0;
    for (; value < end; value++) {
        if (*value < '0' || *value > '9' || number > (LLONG_MAX - 9) / 10)
            return 0;
        number = 10 * number + (*value - '0');
    }
    return number;
}

static void read_line(const char *line, size_t length, struct notice *notice)
{
    const char *end = line + length, *value;
    if ((value = value_of(line, length, "READY"))) {
        notice->ready = notice->ready || is_word(value, end, "1");
    } else if ((value = value_of(line, length, "WATCHDOG"))) {
        notice->alive = notice->alive || is_word(value, end, "1");
        notice->hung = notice->hung || is_word(value, end, "trigger");
    } else if ((value = value_of(line, length, "WATCHDOG_USEC"))) {
        notice->watchdog = number_of(value, end);
    } else if ((value = value_of(line, length, "STATUS"))) {
        notice->status = value;
        notice->status_length = (size_t)(end - value);
    }
}

void notice_read(const char *text, size_t length, struct notice *notice)
{
    const char *end = text + length;
    *notice = (struct notice){0};
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        read_line(text, (size_t)(stop - text), notice);
        text = stop + 1;
    }
}
