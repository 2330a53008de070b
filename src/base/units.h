/*
 * units - numbers as text: durations, times and sizes for people, and plain digits without stdio.
 */
#ifndef PREFORKD_BASE_UNITS_H
#define PREFORKD_BASE_UNITS_H

#include "clock.h"

#include <stdbool.h>
#include <stdint.h>

enum { UNITS_TEXT = 48 };

/* Writes a duration: "3d 4h", "4h 5m", "5m 6s", "12.3 s", "85 ms", "40 us". */
const char *units_span(usec span, char text[static UNITS_TEXT]);

/* Writes a time of the wall clock in the local time zone: "2026-11-22T18:30:05+01:00"; "?" if it
 * can't be represented. */
const char *units_time(usec real, char text[static UNITS_TEXT]);

/* Writes a number of bytes: "512 B", "12.3 MiB". */
const char *units_size(int64_t bytes, char text[static UNITS_TEXT]);

enum { DIGITS_MAX = 20 }; /* digits of the largest number, in decimal */

/* Whether a decimal number, perhaps with a minus sign, has leading zeroes. Some readers would take
 * it for octal, so nobody shall have to guess. */
static inline bool digits_padded(const char *text)
{
    text += *text == '-';
    return text[0] == '0' && text[1] >= '0' && text[1] <= '9';
}

/* Reads a number that is decimal digits alone: no sign, no blank, no leading zeroes. False: it is
 * not one, or it is greater than `most`. */
bool digits_read(const char *text, uint64_t most, uint64_t *number);

/* Writes a number in base 10 or 16, without a closing NUL; returns its end. For a connection's
 * path, where stdio costs too much. */
static inline char *digits_put(char *at, uint64_t number, unsigned base)
{
    char reversed[DIGITS_MAX];
    int count = 0;
    do {
        reversed[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    while (count)
        *at++ = reversed[--count];
    return at;
}

#endif
