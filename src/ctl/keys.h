/*
 * keys - what is typed at a terminal, bytes made keys.
 *
 * Called by: top.
 * Runs in:   preforkctl.
 */
#ifndef PREFORKD_CTL_KEYS_H
#define PREFORKD_CTL_KEYS_H

#include <stdbool.h>
#include <stddef.h>

/* A key is its byte, or one of these. */
enum key {
    KEY_NONE = 256, /* no further one was typed */
    KEY_UP,
    KEY_DOWN,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_HOME,
    KEY_END,
    KEY_ESCAPE,
    KEY_OTHER, /* one that has no name here */
};

struct keys {
    char bytes[64];
    size_t count, taken;
};

/* Reads what was typed. A key that comes in pieces is waited for, but not for long. False: the
 * terminal is gone. */
bool keys_read(struct keys *keys, int fd);

/* Takes the next key, or KEY_NONE. */
int keys_next(struct keys *keys);

#endif
