#include "text.h"

#include "arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

size_t text_decode(const char *bytes, size_t size, uint32_t *character)
{
    const unsigned char *at = (const unsigned char *)bytes;
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (at[0] < 0x80) {
        *character = at[0];
        return 1;
    }
    size_t length = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || length > size)
        return 0;
    *character = at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *character = *character << 6 | (at[i] & 0x3f);
    }
    bool surrogate = *character >= 0xd800 && *character <= 0xdfff;
    return *character < lowest[length] || *character > 0x10ffff || surrogate ? 0 : length;
}

bool text_is_control(uint32_t c)
{
    return c < 0x20 || c == 0x61c || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static size_t escape(char *to, size_t room, const char *from, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    if (4 * length > room)
        return 0;
    for (size_t i = 0; i < length; i++, to += 4) {
        to[0] = '\\';
        to[1] = 'x';
        to[2] = hex[(unsigned char)from[i] >> 4];
        to[3] = hex[from[i] & 15];
    }
    return 4 * length;
}

/* Returns how many bytes of the text it took. `foreign`: bytes of other encodings are kept. */
static size_t copy(char *to, size_t size, const char *from, size_t length, bool foreign)
{
    size_t used = 0, taken = 0, count;
    for (; taken < length; taken += count) {
        const char *at = from + taken;
        uint32_t character;
        count = text_decode(at, length - taken, &character);
        /* In an encoding of eight bits, the bytes from 0x80 to 0x9f are controls. */
        bool bad = count ? text_is_control(character) : !foreign || (*at & 0xe0) == 0x80;
        count = count ? count : 1;
        size_t room = size - 1 - used;
        size_t written = bad ? escape(to + used, room, at, count) : count <= room ? count : 0;
        if (written == 0)
            break;
        if (!bad)
            memcpy(to + used, at, count);
        used += written;
    }
    to[used] = '\0';
    return taken;
}

char *text_clean(char *to, size_t size, const char *from, size_t most)
{
    copy(to, size, from, strnlen(from, most), /* foreign: */ false);
    return to;
}

size_t text_escape(char *to, size_t size, const char *from, size_t length)
{
    return copy(to, size, from, length, /* foreign: */ true);
}

void text_write(FILE *out, const char *text, size_t size, bool json)
{
    for (size_t at = 0; at < size;) {
        char shown[TEXT_CLEAN(4)];
        uint32_t c;
        size_t length = text_decode(text + at, size - at, &c), taken = length ? length : 1;
        bool fits = length && (!text_is_control(c) || c == '\n' || c == '\t');
        if (fits)
            fwrite(text + at, 1, length, out);
        else if (json)
            fprintf(out, "\\u%04x", length ? (unsigned)c : 0xfffd);
        else
            fwrite(shown, 1, escape(shown, sizeof shown, text + at, taken), out);
        at += taken;
    }
}

void text_add(struct text_line *line, const char *format, ...)
{
    size_t left = line->length < line->room ? line->room - line->length : 0;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(left ? line->at + line->length : NULL, left, format, args);
    va_end(args);
    line->length += n > 0 ? (size_t)n : 0;
}

bool text_open(struct text *text)
{
    *text = (struct text){0};
    text->out = open_memstream(&text->written, &text->size);
    return text->out != NULL;
}

char *text_close(struct text *text, bool whole)
{
    whole = whole && !ferror(text->out);
    whole = fclose(text->out) == 0 && whole;
    if (whole)
        return text->written;
    free(text->written);
    return NULL;
}

enum { FIRST_ROOM = 4096, LINE_ROOM = 8192 };

/* Makes room for `size` more bytes. */
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
