/*
 * scoreboard - shared memory through which workers tell the master what they do.
 *
 * Owns:      a memfd of fixed, sparse size: a header, the pools, and a slot a worker. It never
 *            grows or moves; pages exist once touched. No pointers, one writer a field: so a
 *            worker that dies in the middle of a write spoils its own line at most.
 * Knows not: processes, decisions. Any worker can write all of it: what it says is gossip. The
 *            master takes no index, pid or size from it, only counts, times and states, any value
 *            of which is safe.
 * Called by: the master (everything), workers (their own slot).
 * Runs in:   master and workers.
 *
 * Counters belong to the slot, not to the process: the next worker in it goes on from them.
 */
#ifndef PREFORKD_SHARED_SCOREBOARD_H
#define PREFORKD_SHARED_SCOREBOARD_H

#include "../base/clock.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SCOREBOARD_VERSION = 1,
    SCOREBOARD_SLOTS = 65536,
    SCOREBOARD_POOLS = 1024, /* those that are there and those whose last workers still finish */
    SCOREBOARD_REASON = 160,
    SCOREBOARD_LINE = 64, /* bytes of a cache line */
};

enum slot_state {
    SLOT_FREE,     /* nobody's */
    SLOT_WAITING,  /* a pool's, whose worker died and is not replaced yet */
    SLOT_STARTING, /* forked, not ready */
    SLOT_IDLE,     /* waits in accept() */
    SLOT_BUSY,     /* serves a connection */
    SLOT_STATES,
};
extern const char *const slot_state_words[SLOT_STATES];

struct slot {
    /* Written by the worker alone, on the path of each connection; but `state` by the master while
     * no worker lives. */
    alignas(SCOREBOARD_LINE) _Atomic uint32_t state;
    _Atomic uint32_t ready;    /* whether it is, once in a life */
    _Atomic(pid_t) program;    /* the process group that it runs; 0 none */
    _Atomic uint64_t accepted; /* connections taken */
    _Atomic uint64_t served;   /* connections done with */
    _Atomic uint64_t errors;   /* of accept(), transient ones */

    /* Written by the master, but for the reason. */
    alignas(SCOREBOARD_LINE) _Atomic(pid_t) pid; /* 0: none lives */

    uint32_t pool;       /* index */
    uint32_t generation; /* of the configuration under which the worker was forked */
    int64_t born;        /* usec */

    char reason[SCOREBOARD_REASON]; /* by a worker that can't start, text: why */
};

/* What a pool did in slots that it gave back; written by the master. */
struct scoreboard_pool {
    char name[40];
    uint32_t used;
    uint64_t accepted, served, errors;
};

struct scoreboard {
    uint32_t version;
    uint32_t slot_size;
    _Atomic(pid_t) master;
    int64_t started; /* usec */
    alignas(4096) struct scoreboard_pool pools[SCOREBOARD_POOLS];
    alignas(4096) struct slot slots[SCOREBOARD_SLOTS];
};

/* Makes and maps one. NULL with errno set. *fd is its descriptor, close-on-exec. */
struct scoreboard *scoreboard_open(int *fd);
void scoreboard_close(struct scoreboard *board, int fd);

/* Makes a slot a pool's, zeroed. Which are free is for the caller to know, in memory of its own. */
struct slot *scoreboard_take(struct scoreboard *board, int slot, int pool);

/* Gives it back; what it counted stays with the pool. */
void scoreboard_give(struct scoreboard *board, int slot, int pool);

/* A place for a pool of this name, or -1 where there is none left; and back. */
int scoreboard_add_pool(struct scoreboard *board, const char *name);
void scoreboard_remove_pool(struct scoreboard *board, int pool);

#endif
