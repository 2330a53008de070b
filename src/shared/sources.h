/*
 * sources - limits per source: how many connections one has at once, and in a second.
 *
 * Owns:      what a source is; in each slot the ticket of its connection and the source that this is
 *            counted under; the table of rates.
 * Knows not: why there are limits, what becomes of who is refused.
 * Called by: the worker's gate; the master when a worker is dead.
 * Runs in:   workers; sources_forget in the master.
 *
 * Seats are counted where they are held, in the slots of those alive, so that none can get lost. The
 * order in which connections came is that of their tickets, and each is judged by those before it
 * alone: so that of many that come in the same instant exactly as many get in as may. Nobody waits
 * for anybody: what a worker that stands still has begun, whoever needs it brings to its end.
 */
#ifndef PREFORKD_SHARED_SOURCES_H
#define PREFORKD_SHARED_SOURCES_H

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
struct source sources_of(const struct addr *peer);
struct source sources_of_user(uid_t uid);

/* A worker's own seat. */
struct seat {
    struct scoreboard *board;
    struct slot *slot;
    uint32_t pool; /* its place on the board */
};

/* Takes a seat for a connection of this source. False where it has `most` already: then nothing is
 * held. */
bool sources_claim(const struct seat *seat, const struct source *source, uint32_t most);

/* Gives it back. */
void sources_release(const struct seat *seat);

/* The slot's worker is dead: what it held or had begun to claim is nobody's. */
void sources_forget(struct slot *slot);

/* Whether a source may have one more connection now, at so many a second: of a second's worth it may
 * have all at once. Where the table has no room for it, it may. */
bool sources_pace(struct scoreboard *board, uint32_t pool, const struct source *source,
                  uint32_t per_second, usec now);

#endif
