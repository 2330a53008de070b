/*
 * source_limits - limits per source: connections at once, and connections a second.
 *
 * Owns a memfd for each pool that has such limits: counters of the sources' connections; for each
 * worker a note, which names the counter that includes its connection; and the table of rates. It
 * is not part of the scoreboard, because each generation has a scoreboard of its own, and the
 * connections of old workers count as well. Workers count their connections. The master takes dead
 * workers out of the count.
 */
#ifndef PREFORKD_BOARD_SOURCE_LIMITS_H
#define PREFORKD_BOARD_SOURCE_LIMITS_H

#include "../base/addr.h"
#include "scoreboard.h"

#include <stdbool.h>

enum source_kind {
    SOURCE_NONE,
    SOURCE_IPV4, /* an address */
    SOURCE_IPV6, /* a /64, because one customer gets that */
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
    uint64_t seed; /* random, so that nobody can aim at a place in the tables */
    alignas(4096) _Atomic uint64_t notes[SCOREBOARD_SLOTS]; /* by seat */
    alignas(4096) _Atomic uint64_t counters[SOURCE_LIMITS_PLACES];
    alignas(4096) _Atomic uint64_t rates[SOURCE_LIMITS_PLACES];
};

/* Creates and maps the memory; *fd is its close-on-exec descriptor. NULL with errno set. */
struct limits *limits_open(int *fd);
void limits_close(struct limits *limits, int fd);

/* Maps the memory, in a worker or in the master after an upgrade. NULL with errno set. */
struct limits *limits_map(int fd);

/* A number that identifies the layout: two binaries that have the same can share the memory. */
int64_t limits_layout(void);

/* Counts a connection of this source, on this seat. False if the source has `most` already. */
bool source_limits_claim(struct limits *limits, uint32_t seat, const struct source *source,
                         uint32_t most);

/* The seat's connection is over. */
void source_limits_release(struct limits *limits, uint32_t seat);

/* After a refusal on `seat`: whether the other seat has a connection of the same source. */
bool source_limits_shared(const struct limits *limits, uint32_t seat, uint32_t other);

/* By the master: the worker of these seats is dead, and so their connections are over. */
void source_limits_forget(struct limits *limits, uint32_t first, uint32_t count);

/* By the master: sets every counter to what the notes of the seats before `end` say. */
void source_limits_recount(struct limits *limits, uint32_t end);

/* Whether the source may open one more connection now, at this rate, with a burst of one second's
 * worth. A source for which the table has no room may. */
bool source_limits_pace(struct limits *limits, const struct source *source, uint32_t per_second,
                        usec now);

#endif
