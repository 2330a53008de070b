/*
 * proxy - reads the header that a proxy sends before the bytes of a connection: versions 1 and 2 of
 * HAProxy's PROXY protocol.
 *
 * Knows not: sockets, which peers may send a header.
 * Called by: conn/conn.
 * Runs in:   a worker.
 */
#ifndef PREFORKD_WIRE_PROXY_H
#define PREFORKD_WIRE_PROXY_H

#include "../base/addr.h"

#include <stdint.h>

enum {
    PROXY_TEXT_MAX = 107,            /* bytes of a version 1 header, its CR LF included */
    PROXY_FIXED = 16,                /* bytes of a version 2 header before its addresses */
    PROXY_MAX = PROXY_FIXED + 65535, /* bytes of any header */
};

/* How far a header reaches into the bytes of a connection. */
struct proxy_extent {
    size_t certain;    /* how many of the bytes seen certainly belong to the header */
    bool whole;        /* the header ends with them */
    size_t whole_size; /* the size of the whole header; 0: not known yet */
};

/* Measures a header by the first bytes of a connection. False if they can't begin a header. */
bool proxy_measure(const uint8_t *bytes, size_t seen, struct proxy_extent *extent);

struct proxy_header {
    bool proxied; /* false: the sender speaks for itself, or the kind of address is unknown */
    struct addr source, destination;
};

/* Reads a whole header, as measured by proxy_measure. NULL, or what is wrong with the header. */
const char *proxy_read(const uint8_t *bytes, size_t size, struct proxy_header *header);

/* The CRC32c of the bytes, continued from that of the bytes before them. It starts at 0. */
uint32_t proxy_checksum(uint32_t before, const uint8_t *bytes, size_t size);

#endif
