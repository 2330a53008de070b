/*
 * proxy - the header that a proxy puts before a connection's bytes: versions 1 and 2 of HAProxy's
 * PROXY protocol.
 *
 * Owns:      where a header ends, whether it is one, and what it says.
 * Knows not: sockets, who may send one.
 * Called by: conn/proxied.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_WIRE_PROXY_H
#define PREFORKD_WIRE_PROXY_H

#include "../base/addr.h"

#include <stdint.h>

enum {
    PROXY_TEXT_MAX = 107,            /* bytes of a line of version 1, its CR LF included */
    PROXY_FIXED = 16,                /* bytes of a header of version 2 before its addresses */
    PROXY_MAX = PROXY_FIXED + 65535, /* bytes of any header */
};

/* How far a header goes, by the first bytes of a connection. */
struct proxy_extent {
    size_t ours;       /* of the bytes seen, those that belong to it for certain */
    bool whole;        /* it ends with them */
    size_t whole_size; /* of all of it, where that is known already; else 0 */
};

/* False if the bytes are the beginning of no header. */
bool proxy_measure(const uint8_t *bytes, size_t seen, struct proxy_extent *extent);

/* What a header says. */
struct proxy_header {
    bool proxied; /* false: the connection is the sender's own, or of an unknown kind */
    struct addr source, destination;
};

/* Reads a whole header, as proxy_measure found it. NULL, or in words what is wrong with it. */
const char *proxy_read(const uint8_t *bytes, size_t size, struct proxy_header *header);

/* The CRC32c of bytes, continued from that of those before, which begins at 0. */
uint32_t proxy_checksum(uint32_t before, const uint8_t *bytes, size_t size);

#endif
