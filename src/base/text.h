/*
 * text - texts that grow, and bytes of unknown origin made fit for a terminal and for JSON.
 */
#ifndef PREFORKD_BASE_TEXT_H
#define PREFORKD_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Room that a cleaned text of `bytes` bytes needs at most, its NUL included. */
#define TEXT_CLEAN(bytes) (4 * (bytes) + 1)

/* Copies up to a NUL, or `most` bytes. What is no UTF-8, controls, and what would turn the
 * direction of the line around, come as \xNN. Cuts between characters if `size` is too small.
 * Returns `to`, always closed by a NUL. */
char *text_clean(char *to, size_t size, const char *from, size_t most);

/* The character at the beginning of `size` bytes, at least 1. Its length; 0 if they are no
 * UTF-8. */
size_t text_decode(const char *bytes, size_t size, uint32_t *character);

/* A line that grows into room of its caller's. Beyond that its length just grows, as snprintf(3)
 * has it; with no room at all, `at` may be NULL. */
struct text_line {
    char *at;
    size_t room, length;
};
void text_add(struct text_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A file in memory. */
struct text {
    FILE *out;
    char *written;
    size_t size;
};

/* Opens it for writing; false: no memory. */
bool text_open(struct text *text);

/* Closes it. What was written, from malloc(); NULL if that is not `whole`, or there was no
 * memory for it. */
char *text_close(struct text *text, bool whole);

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
