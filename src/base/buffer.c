#include "buffer.h"

#include "arena.h"
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { FIRST_ROOM = 4096, LINE_ROOM = 8192 };

/* Makes room for so many more. */
static bool grow(struct buffer *buffer, size_t size)
{
    size_t room = buffer->room ? buffer->room : FIRST_ROOM;
    if (buffer->cut || size > BUFFER_MAX - buffer->used)
        return false;
    while (room < buffer->used + size)
        room *= 2;
    if (room == buffer->room)
        return true;
    void *memory =
        buffer->at ? mremap(buffer->at, buffer->room, room, MREMAP_MAYMOVE) : arena_unforked(room);
    if (!memory || memory == MAP_FAILED)
        return false;
    buffer->at = memory;
    buffer->room = room;
    return true;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    if (!grow(buffer, size)) {
        buffer->cut = true;
        return;
    }
    memcpy(buffer->at + buffer->used, bytes, size);
    buffer->used += size;
}

void buffer_print(struct buffer *buffer, const char *format, ...)
{
    char line[LINE_ROOM];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length >= LINE_ROOM) {
        length = LINE_ROOM - 1;
        line[length - 1] = '\n'; /* a line stays a line */
    }
    if (length > 0)
        buffer_add(buffer, line, (size_t)length);
}

static void add_quoted(struct buffer *buffer, const char *at, size_t length)
{
    unsigned char c = (unsigned char)*at;
    if (length == 0)
        buffer_add(buffer, "\\ufffd", 6);
    else if (c == '\n')
        buffer_add(buffer, "\\n", 2);
    else if (c < 0x20 || c == 0x7f)
        buffer_print(buffer, "\\u%04x", c);
    else if (c == '"' || c == '\\')
        buffer_print(buffer, "\\%c", c);
    else
        buffer_add(buffer, at, length);
}

void buffer_add_quoted(struct buffer *buffer, const char *bytes, size_t size)
{
    buffer_add(buffer, "\"", 1);
    for (size_t i = 0; i < size && !buffer->cut;) {
        uint32_t character;
        size_t length = text_decode(bytes + i, size - i, &character);
        add_quoted(buffer, bytes + i, length);
        i += length ? length : 1;
    }
    buffer_add(buffer, "\"", 1);
}

void buffer_done(struct buffer *buffer)
{
    if (buffer->at)
        munmap(buffer->at, buffer->room);
    *buffer = (struct buffer){0};
}
