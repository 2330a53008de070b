/*
 * scroll - a text that grows.
 *
 * Owns:      its memory, which children forked later don't get: what is gathered for somebody who
 *            asked costs the workers that are born meanwhile nothing.
 * Called by: the master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_BASE_SCROLL_H
#define PREFORKD_BASE_SCROLL_H

#include <stdbool.h>
#include <stddef.h>

enum { SCROLL_MAX = 16 * 1024 * 1024 };

/* Zeroed, it is empty. */
struct scroll {
    char *at; /* NULL while nothing was added; closed by no NUL */
    size_t used, room;
    bool cut; /* something did not fit: beyond SCROLL_MAX, or out of memory */
};

void scroll_add(struct scroll *scroll, const void *bytes, size_t size);
void scroll_print(struct scroll *scroll, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds text as JSON has it, in quotes. Bytes that are no UTF-8 come as U+FFFD. */
void scroll_add_quoted(struct scroll *scroll, const char *bytes, size_t size);

/* Gives the memory back: it is empty. */
void scroll_done(struct scroll *scroll);

#endif
