/* Any bytes as a program's notification: the result agrees with a reader by strings, line by line,
 * and the status lies within one line of the datagram. */
#include "fuzz.h"

#include "../../src/wire/notice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool begins(const char *line, const char *name)
{
    return strncmp(line, name, strlen(name)) == 0;
}

static long long number_of(const char *value)
{
    size_t digits = strspn(value, "0123456789");
    errno = 0;
    long long number = strtoll(value, NULL, 10);
    return digits == 0 || value[digits] ? 0 : errno ? -1 : number;
}

/* A line as a string. A NUL in it ends no known word: the length tells such a line. */
static void add_line(const char *line, size_t length, struct notice *notice)
{
    bool whole = strlen(line) == length;
    if (whole && strcmp(line, "READY=1") == 0)
        notice->ready = true;
    if (whole && strcmp(line, "WATCHDOG=1") == 0)
        notice->alive = true;
    if (whole && strcmp(line, "WATCHDOG=trigger") == 0)
        notice->hung = true;
    if (begins(line, "WATCHDOG_USEC="))
        notice->watchdog = whole ? number_of(strchr(line, '=') + 1) : 0;
    if (begins(line, "STATUS="))
        notice->status_length = length - strlen("STATUS=");
}

static void check(const struct notice *notice, const struct notice *wanted, const char *text,
                  size_t size)
{
    must(notice->ready == wanted->ready && notice->alive == wanted->alive);
    must(notice->hung == wanted->hung && notice->status_length == wanted->status_length);
    /* A number near the maximum may be refused as too large. */
    must(notice->watchdog == wanted->watchdog ||
         (notice->watchdog == 0 && (wanted->watchdog < 0 || wanted->watchdog > INT64_MAX / 2)));
    if (!notice->status)
        return;
    must(notice->status >= text && notice->status + notice->status_length <= text + size);
    must(!memchr(notice->status, '\n', notice->status_length));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct notice notice, wanted = {0};
    char *text = malloc(size ? size : 1); /* no byte behind it, so that sanitizers notice */
    char *lines = malloc(size + 1);
    must(text && lines);
    memcpy(text, bytes, size);
    memcpy(lines, bytes, size);
    lines[size] = '\0';
    for (size_t at = 0; at < size;) {
        char *newline = memchr(lines + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - lines) - at : size - at;
        lines[at + length] = '\0';
        add_line(lines + at, length, &wanted);
        at += length + 1;
    }
    notice_read(text, size, &notice);
    check(&notice, &wanted, text, size);
    free(text);
    free(lines);
    return 0;
}
