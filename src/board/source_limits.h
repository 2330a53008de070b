/*
 * source_limits - limits per source: how many connections one has at once, and in a second.
 *
 * Owns:      what a source is; a memfd of each pool that has such limits, mapped in its workers: a
 *            claim a worker (the ticket of its connection and the source that this is counted
 *            under), and the table of rates.
 * Knows not: why there are limits, what becomes of who is refused.
 * Called by: the worker's access; the master when a worker is dead, and when the last one of a
 *            generation is, since any of them could write all of it.
 * Runs in:   workers; the rest in the master.
 *
 * Seats are counted where they are held, in the claims of those alive, so that none can get lost. The
 * order in which connections came is that of their tickets, and each is judged by those before it
 * alone: so that of many that come in the same instant exactly as many get in as may. Nobody waits
 * for anybody: what a worker that stands still has begun, whoever needs it brings to its end.
 */
#ifndef PREFORKD_BOARD_SOURCE_LIMITS_H
#define PREFORKD_BOARD_SOURCE_LIMITS_H

#include "../base/addr.h"
#include "scoreboard.h"

#include <stdbool.h>

enum source_kind {
    SOURCE_NONE,
    SOURCE_IPV4, /* an address */
    SOURCE_IPV6, /* a /64, which is what one customer gets */
    SOURCE_UNIX, /* a user */
};

struct source {
    enum source_kind kind;
    uint64_t key;
};

/* The source of an IP address, or of a user on this machine. */
struct source source_limits_of(const struct addr *peer);
struct source source_limits_of_user(uid_t uid);

enum { SOURCE_LIMITS_RATES = 65536 }; /* sources whose rate is known; a power of two */

struct claim {
    _Atomic uint64_t source[2]; /* what it is counted under, and its limit */
    _Atomic uint64_t ticket;    /* its place among those of its source */
    uint64_t unused;            /* so that two of them share a cache line, and none lies in two */
};

/* The limits of a pool, for all its generations: a connection that an old worker still holds counts. */
struct limits {
    alignas(SCOREBOARD_LINE) _Atomic uint64_t tickets; /* taken by workers, one a claim */
    alignas(SCOREBOARD_LINE)
        uint64_t seed;    /* of the places in `rates`, so that nobody can aim at one */
    _Atomic uint32_t end; /* no claim from here on was ever taken; by the master */
    alignas(4096) struct claim claims[SCOREBOARD_SLOTS]; /* by the workers' seats */
    alignas(4096) _Atomic uint64_t rates[SOURCE_LIMITS_RATES];
};

/* Makes one, mapped for the master; *fd is its descriptor, close-on-exec. NULL with errno set. */
struct limits *limits_open(int *fd);
void limits_close(struct limits *limits, int fd);

/* Maps it in a worker, or in a master that goes on with it. NULL with errno set. */
struct limits *limits_map(int fd);

/* What identifies the layout: two programs that agree in it can share it. */
int64_t limits_layout(void);

/* A worker's own. */
struct seat {
    struct limits *limits;
    struct claim *claim;
};

/* Takes a seat for a connection of this source. False where it has `most` already: then nothing is
 * held. */
bool source_limits_claim(const struct seat *seat, const struct source *source, uint32_t most);

/* Gives it back. */
void source_limits_release(const struct seat *seat);

/* The worker of this seat is dead: what it held or had begun to claim is nobody's. */
void source_limits_forget(struct limits *limits, uint32_t seat);

/* Whether a source may have one more connection now, at so many a second: of a second's worth it may
 * have all at once. Where the table has no room for it, it may. */
bool source_limits_pace(struct limits *limits, const struct source *source, uint32_t per_second,
                        usec now);

#endif
