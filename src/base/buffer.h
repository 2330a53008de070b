/*
 * buffer - a text that grows.
 *
 * Owns:      its memory, which children forked later don't get: an answer in the making costs a
 *            worker that is forked meanwhile nothing.
 * Called by: the master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_BASE_BUFFER_H
#define PREFORKD_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

enum { BUFFER_MAX = 16 * 1024 * 1024 };

/* Zeroed, it is empty. */
struct buffer {
    char *at; /* NULL while nothing was added; closed by no NUL */
    size_t used, room;
    bool cut; /* something did not fit: beyond BUFFER_MAX, or out of memory */
};

void buffer_add(struct buffer *buffer, const void *bytes, size_t size);
void buffer_print(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds text as JSON has it, in quotes. Bytes that are no UTF-8 come as U+FFFD. */
void buffer_add_quoted(struct buffer *buffer, const char *bytes, size_t size);

/* Gives the memory back: it is empty. */
void buffer_done(struct buffer *buffer);

#endif
