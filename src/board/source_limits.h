/*
 * source_limits - limits per source: how many connections one has at once, and in a second.
 *
 * Owns a memfd of each pool that has such limits: counters of the connections that sources have, a
 * note of each worker which counter it is counted in, and the table of rates. It is no part of the
 * scoreboard, because there is one of those a generation, and a connection that an old worker still
 * has counts. A worker counts its connections. The master takes a dead worker out of the count.
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

enum { SOURCE_LIMITS_PLACES = 65536 }; /* in each of the two tables; a power of two */

struct limits {
    uint64_t seed; /* random: so nobody can aim at a place in the tables */
    alignas(4096) _Atomic uint64_t notes[SCOREBOARD_SLOTS]; /* by the workers' seats */
    alignas(4096) _Atomic uint64_t counters[SOURCE_LIMITS_PLACES];
    alignas(4096) _Atomic uint64_t rates[SOURCE_LIMITS_PLACES];
};

/* Makes one, mapped for the master; *fd is its descriptor, close-on-exec. NULL with errno set. */
struct limits *limits_open(int *fd);
void limits_close(struct limits *limits, int fd);

/* Maps it in a worker, or in a master that goes on with it. NULL with errno set. */
struct limits *limits_map(int fd);

/* A number that identifies the layout: two binaries that agree in it can share the memory. */
int64_t limits_layout(void);

/* Counts a connection of this source, in the worker with this seat. False if the source has `most`
 * already. */
bool source_limits_claim(struct limits *limits, uint32_t seat, const struct source *source,
                         uint32_t most);

/* The worker's connection is over. */
void source_limits_release(struct limits *limits, uint32_t seat);

/* After a refusal: whether the worker with the other seat has a connection of the same source. */
bool source_limits_shared(const struct limits *limits, uint32_t seat, uint32_t other);

/* By the master: the worker with this seat is dead, its connection is over. */
void source_limits_forget(struct limits *limits, uint32_t seat);

/* By the master: makes every counter what the notes of the seats before `end` say. */
void source_limits_recount(struct limits *limits, uint32_t end);

/* Whether a source may have one more connection now, at so many a second: it may have a second's
 * worth at once. If the table has no room for the source, it may. */
bool source_limits_pace(struct limits *limits, const struct source *source, uint32_t per_second,
                        usec now);

#endif
