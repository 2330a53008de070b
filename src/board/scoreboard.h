/*
 * scoreboard - shared memory of one pool and generation, in which its workers show what they do.
 *
 * A memfd of fixed, sparse size: a few words of the pool's, and a slot a seat: one for a worker
 * that serves one connection at a time, as many as it has room for of another (seats). It is
 * sealed, never grows or moves, and its pages exist once touched. It has no pointers, no indices,
 * no pids that the master acts on. Reporters of other pools can only read it.
 *
 * Every worker of the pool can write all of it: its code may be somebody else's (a module). So the
 * master believes it no more than it believes a client: states and counts are copied, bounded and
 * then shown, or used for the size of this pool alone; a lie there can harm this pool and no other.
 * A new generation has a new scoreboard: what an old worker writes reaches no new one.
 *
 * Counters belong to the slot, not to the process: the next worker in it goes on from them.
 */
#ifndef PREFORKD_BOARD_SCOREBOARD_H
#define PREFORKD_BOARD_SCOREBOARD_H

#include "../base/clock.h"
#include "histogram.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SCOREBOARD_SLOTS = 65536, /* of one scoreboard, and of all pools together */
    SCOREBOARD_POOLS = 1024,  /* those that are there and those whose last workers still finish */
    SCOREBOARD_NAME = 40,
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

/* Why a connection was closed unserved. Saved over an upgrade by number: it only grows at the end.
 * */
enum refusal {
    REFUSED_DENIED,
    REFUSED_MAX_PER_SOURCE,
    REFUSED_RATE,
    REFUSED_PROXY,
    REFUSED_QUEUE,
    REFUSALS
};
extern const char *const refusal_words[REFUSALS];

/* What became of programs that a template was to be forked for; and how often one was started
 * again. */
enum template_count { TEMPLATE_FORKS, TEMPLATE_COLD_STARTS, TEMPLATE_RESTARTS, TEMPLATE_COUNTS };
extern const char *const template_count_words[TEMPLATE_COUNTS];

/* Templates of one worker. */
enum { TEMPLATES_MOST = 8 };

struct slot_templates {
    _Atomic uint64_t counts[TEMPLATE_COUNTS];
    _Atomic(pid_t) pids[TEMPLATES_MOST]; /* 0: none. For reports, which prove whose they are */
};

/* The peer: an address without its length, so that a slot stays small. */
struct slot_peer {
    uint16_t family; /* AF_INET, AF_INET6, AF_UNIX; 0: nobody */
    uint16_t port;   /* host order */
    uint32_t uid;    /* of a Unix socket's other end, where somebody asked; else -1 */
    uint8_t ip[16];  /* network order; of IPv4 the first four */
};

struct slot {
    /* Written by the worker alone, on the path of each connection; but `state` by the master while
     * no worker lives. */
    alignas(SCOREBOARD_LINE) _Atomic uint32_t state;
    _Atomic uint32_t ready; /* whether it is, once in a life */
    _Atomic(pid_t)
        program; /* the process group that it runs; 0 none. A hint: see master/process_groups */
    _Atomic uint64_t accepted;            /* connections taken */
    _Atomic uint64_t served;              /* connections done with */
    _Atomic int64_t since;                /* usec: when it became busy, or idle */
    _Atomic uint64_t bytes_in, bytes_out; /* of connections done with, if known */
    _Atomic uint64_t errors;              /* of accept(), transient ones */

    /* The same, of the connection in hand. */
    alignas(SCOREBOARD_LINE) struct slot_peer peer;
    _Atomic uint32_t refused[REFUSALS];
    _Atomic uint32_t retiring; /* by the master: take no further connection. The signal says so too,
                                  but a handler may have made the worker deaf to that. In the first
                                  of several seats by the worker, too: none of them does any more */
    /* In the first slot of a worker of many seats, by the worker, so that nobody need look at each:
     * how many it has, 0 where this isn't kept; and how many of them are free. */
    _Atomic uint32_t seats, free_seats;

    /* What connections, or requests where a handler takes several on one, took from when they were
     * accepted to their end; and how long connections had waited until then. */
    alignas(SCOREBOARD_LINE) struct histogram service;
    struct histogram wait;

    _Atomic uint32_t failed_starts; /* of programs that it runs, in a row */
    _Atomic uint32_t start_error;   /* and why the last one failed: an errno */

    struct slot_templates templates;

    /* Text: why a worker can't start. By the master, if the worker became a program: what that says
     * of itself. */
    char reason[SCOREBOARD_REASON];
};

/* The most processor time of a pool that a reporter of this one has shown, usec. Written by these
 * reporters, any of them. */
struct shown_time {
    _Atomic uint64_t pool; /* the serial of the pool that has this place */
    _Atomic int64_t user, system;
};

struct scoreboard {
    /* Set by the master while a free seat less would let the pool grow, cleared by the worker that
     * wakes the master. */
    alignas(SCOREBOARD_LINE) _Atomic uint32_t armed;
    _Atomic uint32_t
        min_spare;             /* so many free seats, and at least one, are enough; by the master */
    _Atomic uint32_t unserved; /* set by a worker that was woken for a connection, and can't accept;
                                  cleared by the master, which wakes another worker */
    _Atomic uint32_t end;      /* no slot from here on was ever taken; by the master */
    uint64_t
        serial; /* as the overview names it: for a debugger, which finds the memory by itself */

    alignas(4096) struct shown_time shown[SCOREBOARD_POOLS]; /* by place in the overview */
    alignas(4096) struct slot slots[SCOREBOARD_SLOTS];
};

/* Makes the memory of one, zeroed and sealed: a close-on-exec descriptor that can be mapped for
 * writing, or -errno. Only root and the daemon's own user can open it anew. */
int scoreboard_create(void);

/* Maps it. NULL with errno set: EPROTO if the descriptor is no memory of this size, which would
 * end a reader by SIGBUS. Children forked later don't have the mapping. */
struct scoreboard *scoreboard_map(int fd, bool writable);
void scoreboard_unmap(struct scoreboard *board);

/* A number that identifies the layout: two binaries that agree in it can share a scoreboard. */
int64_t scoreboard_layout(void);

/* How many slots may have been taken: `end`, bounded. */
static inline uint32_t scoreboard_end(const struct scoreboard *board)
{
    uint32_t end = atomic_load_explicit(&board->end, memory_order_relaxed);
    return end < SCOREBOARD_SLOTS ? end : SCOREBOARD_SLOTS;
}

/* How many seats here serve the address of this slot's peer, this one included, as seen in
 * passing. */
unsigned scoreboard_same_peer(const struct scoreboard *board, uint32_t number);

/* Whether as many other slots as wanted are idle and not retiring: looks no further than that, and
 * at one slot alone of a worker that counts its free seats. `own` is of the worker whose first slot
 * is `head`. */
bool scoreboard_has_idle(const struct scoreboard *board, uint32_t head, uint32_t own, int wanted);

/* A slot's counters, as they are copied out of the shared memory. */
struct slot_counts {
    uint64_t accepted, served, errors, bytes_in, bytes_out;
    uint64_t refused[REFUSALS];
    uint64_t templates[TEMPLATE_COUNTS];
    struct histogram service, wait;
};
void slot_read(const struct slot *slot, struct slot_counts *counts);
void slot_counts_add(struct slot_counts *to, const struct slot_counts *from);

/* Whether a worker, or several one after the other, can have counted so much in this time. A worker
 * that writes nonsense is found by it, not one that lies within reason. */
bool slot_counts_possible(const struct slot_counts *counts, usec age);

#endif
