/*
 * digits - numbers as text on a connection's path, where stdio is too much.
 */
#ifndef PREFORKD_BASE_DIGITS_H
#define PREFORKD_BASE_DIGITS_H

#include <stdint.h>

enum { DIGITS_MAX = 20 }; /* of the largest number, in decimal */

/* Writes a number, in base 10 or 16, without a NUL behind it; returns where it ends. */
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
