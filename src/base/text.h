/*
 * text - texts that grow, and foreign bytes made fit for a terminal and for JSON.
 */
#ifndef PREFORKD_BASE_TEXT_H
#define PREFORKD_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Enough room for `bytes` bytes after text_clean, with a NUL. */
#define TEXT_CLEAN(bytes) (4 * (bytes) + 1)

/* Copies text up to a NUL, or `most` bytes. Bytes that are not UTF-8, control characters, and those
 * that change the direction of a line become \xNN. If `size` is too small, cuts between characters.
 * Returns `to`; always adds a NUL. */
char *text_clean(char *to, size_t size, const char *from, size_t most);

/* The same for a text of `length` bytes, with NULs, in which other bytes that are not UTF-8 than
 * controls are kept. Returns how many bytes of the text it took, all if `size` is large enough. */
size_t text_escape(char *to, size_t size, const char *from, size_t length);

/* Whether a character may change how a terminal shows the text around it: control characters,
 * Unicode's line separators, marks of direction, characters of no width. */
bool text_is_control(uint32_t character);

/* Decodes the first character of `size` bytes, at least one. Returns its length; 0 if it is not
 * UTF-8. */
size_t text_decode(const char *bytes, size_t size, uint32_t *character);

/* Writes a text of lines for a terminal: as text_clean does, but keeps newlines and tabs. As JSON,
 * what that changes becomes \uNNNN instead, which means the same within a string. */
void text_write(FILE *out, const char *text, size_t size, bool json);

/* A text that grows in its caller's room. Beyond the room only its length grows, as with
 * snprintf(3). If `room` is 0, `at` may be NULL. */
struct text_line {
    char *at;
    size_t room, length;
};
void text_add(struct text_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A stdio stream into memory. */
struct text {
    FILE *out;
    char *written;
    size_t size;
};

/* Opens it for writing; false: no memory. */
bool text_open(struct text *text);

/* Closes the stream, and returns its text from malloc(). NULL if memory was short, or if the caller
 * says that the text is not `whole`. */
char *text_close(struct text *text, bool whole);

/* A text in memory that later children don't inherit: a reply that the master is building costs a
 * worker forked meanwhile nothing. Initialise it to zero. */
enum { BUFFER_MAX = 16 * 1024 * 1024 };

struct buffer {
    char *at; /* NULL while empty; has no closing NUL */
    size_t used, room;
    bool cut; /* some text is missing: it exceeded BUFFER_MAX, or memory was short */
};

void buffer_add(struct buffer *buffer, const void *bytes, size_t size);
void buffer_print(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds a JSON string, in quotes. Bytes that are not UTF-8 become U+FFFD. */
void buffer_add_quoted(struct buffer *buffer, const char *bytes, size_t size);

/* Frees the memory, and empties the buffer. */
void buffer_done(struct buffer *buffer);

#endif
