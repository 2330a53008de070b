#include "keys.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_MSEC = 50 }; /* between the pieces of a key; Escape alone takes this long */

/* The sequences behind "\033[" or "\033O" of the terminals that are around. */
static const struct {
    const char *tail;
    enum key key;
} sequences[] = {
    {"A", KEY_UP},  {"B", KEY_DOWN},  {"5~", KEY_PAGE_UP}, {"6~", KEY_PAGE_DOWN}, {"H", KEY_HOME},
    {"F", KEY_END}, {"1~", KEY_HOME}, {"4~", KEY_END},     {"7~", KEY_HOME},      {"8~", KEY_END},
};

/* Bytes of the key that begins at the first of them; 0 if it is not there as a whole. */
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

bool keys_read(struct keys *keys, int fd)
{
    struct pollfd more = {.fd = fd, .events = POLLIN};
    keys->count = keys->taken = 0;
    do {
        ssize_t n = read(fd, keys->bytes + keys->count, sizeof keys->bytes - keys->count);
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
