#include "terminal.h"

#include "../base/fd.h"
#include "../base/text.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* The alternate screen without cursor and line wrapping; and back. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[H\033[2J"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static struct termios original;
static volatile bool entered;

int screen_enter(void)
{
    if (tcgetattr(STDIN_FILENO, &original) != 0)
        return -errno;
    struct termios raw = original;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0)
        return -errno;
    entered = true;
    fd_write(STDOUT_FILENO, ENTER, strlen(ENTER));
    return 0;
}

void screen_leave(void)
{
    if (!entered)
        return;
    entered = false;
    fd_write(STDOUT_FILENO, LEAVE, strlen(LEAVE)); /* it may fail: then the terminal is gone */
    tcsetattr(STDIN_FILENO, TCSADRAIN, &original);
}

/* How many bytes of the line fit. A character takes one column, a colour sequence none. */
static size_t cut(const char *line, size_t length, int columns)
{
    int used = 0;
    size_t i = 0;
    while (i < length) {
        size_t colour = colour_length(line + i, length - i);
        bool begins = !colour && ((unsigned char)line[i] & 0xc0) != 0x80;
        if (begins && used++ == columns)
            return i;
        i += colour ? colour : 1;
    }
    return length;
}

/* Shows control characters as question marks, except colour sequences. Ends colours with the
 * line. */
static void add_line(FILE *out, const char *line, size_t length)
{
    size_t i = 0;
    bool coloured = false;
    while (i < length) {
        size_t colour = colour_length(line + i, length - i);
        unsigned char c = (unsigned char)line[i];
        if (colour)
            fwrite(line + i, 1, colour, out);
        else
            fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
        coloured = coloured || colour;
        i += colour ? colour : 1;
    }
    fputs(coloured ? "\033[0m\033[K" : "\033[K", out);
}

static void add_lines(FILE *out, const char *text, size_t size, int rows, int columns)
{
    const char *end = text + size;
    for (int row = 0; text < end && row < rows; row++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline ? newline : end) - text);
        if (row)
            fputs("\r\n", out);
        add_line(out, text, cut(text, length, columns));
        text += length + 1;
    }
}

void screen_size(int *rows, int *columns)
{
    struct winsize window = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    *rows = window.ws_row && window.ws_col ? window.ws_row : 24;
    *columns = window.ws_row && window.ws_col ? window.ws_col : 80;
}

void screen_show(const char *text, size_t size)
{
    int rows, columns;
    screen_size(&rows, &columns);
    struct text frame;
    if (!text_open(&frame))
        return;
    fputs("\033[H", frame.out);
    add_lines(frame.out, text, size, rows, columns);
    fputs("\033[J", frame.out);
    char *written = text_close(&frame, true);
    if (written)
        fd_write(STDOUT_FILENO, written, frame.size);
    free(written);
}

enum { PIECE_MSEC = 50 }; /* how long to wait for the next piece of a key, and after Escape */

/* What common terminals send after "\033[" or "\033O". */
static const struct {
    const char *tail;
    enum key key;
} sequences[] = {
    {"A", KEY_UP},  {"B", KEY_DOWN},  {"5~", KEY_PAGE_UP}, {"6~", KEY_PAGE_DOWN}, {"H", KEY_HOME},
    {"F", KEY_END}, {"1~", KEY_HOME}, {"4~", KEY_END},     {"7~", KEY_HOME},      {"8~", KEY_END},
};

/* The length of the first key; 0 if it is incomplete. */
static size_t length_of(const char *at, size_t count)
{
    size_t length = 2;
    if (at[0] != '\033')
        return 1;
    if (count < 2)
        return 0;
    if (at[1] != '[' && at[1] != 'O')
        return 1;
    while (length < count && at[length] >= 0x20 && at[length] < 0x40)
        length++;
    return length < count ? length + 1 : 0;
}

static bool is_in_pieces(const struct keys *keys)
{
    size_t at = 0, length = 1;
    while (at < keys->count && length) {
        length = length_of(keys->bytes + at, keys->count - at);
        at += length;
    }
    return !length && keys->count < sizeof keys->bytes;
}

bool keys_read(struct keys *keys)
{
    struct pollfd more = {.fd = STDIN_FILENO, .events = POLLIN};
    keys->count = keys->taken = 0;
    do {
        ssize_t n = read(STDIN_FILENO, keys->bytes + keys->count, sizeof keys->bytes - keys->count);
        if (n <= 0)
            return false;
        keys->count += (size_t)n;
    } while (is_in_pieces(keys) && poll(&more, 1, PIECE_MSEC) == 1);
    return true;
}

int keys_next(struct keys *keys)
{
    const char *at = keys->bytes + keys->taken;
    size_t left = keys->count - keys->taken;
    if (!left)
        return KEY_NONE;
    size_t length = length_of(at, left);
    keys->taken += length ? length : left;
    if (length == 1)
        return at[0] == '\033' ? KEY_ESCAPE : (unsigned char)at[0];
    for (size_t i = 0; length && i < sizeof sequences / sizeof *sequences; i++)
        if (strlen(sequences[i].tail) == length - 2 &&
            memcmp(sequences[i].tail, at + 2, length - 2) == 0)
            return sequences[i].key;
    return length || left > 1 ? KEY_OTHER : KEY_ESCAPE;
}
