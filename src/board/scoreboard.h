/*
 * scoreboard - shared memory of one pool and generation, in which the workers show what they do.
 *
 * It is a memfd of fixed, sparse size, with a few words for the pool and a slot for each seat. A
 * worker of the process model has one seat, other workers have several. The memfd is sealed and
 * never grows or moves, and its pages exist once touched. It has no pointers, indices or pids that
 * the master acts on. Reporters of other pools can only read it.
 *
 * Every worker of the pool can write all of it, and may run foreign code, a module. So the master
 * believes it no more than it believes a client: it copies states and counts, bounds them, shows
 * them, and uses them only for the size of this pool. A lie harms this pool and no other. A new
 * generation has a new scoreboard, which old workers can't reach.
 *
 * Counters belong to the slot, not to the process: the slot's next worker continues them.
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
    SCOREBOARD_POOLS = 1024,  /* configured ones, and removed ones whose last workers finish */
    SCOREBOARD_NAME = 40,
    SCOREBOARD_REASON = 160,
    SCOREBOARD_LINE = 64, /* bytes of a cache line */
};

enum slot_state {
    SLOT_FREE,     /* not in use */
    SLOT_WAITING,  /* its worker died, and is not replaced yet */
    SLOT_STARTING, /* its worker is forked, but not ready */
    SLOT_IDLE,     /* waits for a connection */
    SLOT_BUSY,     /* serves a connection */
    SLOT_STATES,
};
extern const char *const slot_state_words[SLOT_STATES];

/* Why a connection was refused. An upgrade hands these on by number: add only at the end. */
enum refusal {
    REFUSED_DENIED,
    REFUSED_MAX_PER_SOURCE,
    REFUSED_RATE,
    REFUSED_PROXY,
    REFUSED_QUEUE,
    REFUSALS
};
extern const char *const refusal_words[REFUSALS];

/* How programs of a template were started: by a fork, or without one; and restarts of templates. */
enum template_count { TEMPLATE_FORKS, TEMPLATE_COLD_STARTS, TEMPLATE_RESTARTS, TEMPLATE_COUNTS };
extern const char *const template_count_words[TEMPLATE_COUNTS];

enum { TEMPLATES_MOST = 8 }; /* of one worker */

struct slot_templates {
    _Atomic uint64_t counts[TEMPLATE_COUNTS];
    _Atomic(pid_t) pids[TEMPLATES_MOST]; /* 0: none. For reports, which prove whose pids they are */
};

/* The peer: an address without its length, so that a slot stays small. */
struct slot_peer {
    uint16_t family; /* AF_INET, AF_INET6, AF_UNIX; 0: no peer */
    uint16_t port;   /* host order */
    uint32_t uid;    /* of the peer on a Unix socket, if a handler asked for it; else -1 */
    uint8_t ip[16];  /* network order; IPv4 has the first four bytes */
};

struct slot {
    /* Only the worker writes these, for each connection; the master writes `state` while no worker
     * lives. */
    alignas(SCOREBOARD_LINE) _Atomic uint32_t state;
    _Atomic uint32_t ready;    /* the worker is ready; set once in its life */
    _Atomic(pid_t) program;    /* the process group that the worker runs; 0: none. A hint: see
                                  master/stop */
    _Atomic uint64_t accepted; /* connections */
    _Atomic uint64_t served;   /* connections, to their end */
    _Atomic int64_t since;     /* usec: when it became busy or idle */
    _Atomic uint64_t bytes_in, bytes_out; /* of ended connections, if known */
    _Atomic uint64_t errors;              /* of accept(), but not those that end the worker */

    /* Only the worker writes these, too, except for `retiring`. */
    alignas(SCOREBOARD_LINE) struct slot_peer peer; /* of the connection in hand */
    _Atomic uint32_t refused[REFUSALS];
    _Atomic uint32_t retiring; /* by the master: accept no further connection. The signal says the
                                  same, but a handler may have made the worker deaf to it. A worker
                                  with several seats sets it in its first slot when none of them
                                  accepts any more */
    /* In the first slot of a worker with many seats, so that readers need not look at each: how
     * many seats it has, 0 if it doesn't count them; and how many are free. */
    _Atomic uint32_t seats, free_seats;

    /* How long connections took from accept() to their end, or requests, if the handler counts
     * them; and how long connections had waited to be accepted. */
    alignas(SCOREBOARD_LINE) struct histogram service;
    struct histogram wait;

    _Atomic uint32_t failed_starts; /* of programs, in a row */
    _Atomic uint32_t start_error;   /* the errno of the last failed start */

    struct slot_templates templates;

    /* Why the worker can't start. If the worker became a program, the master writes here the status
     * that the program reports. */
    char reason[SCOREBOARD_REASON];
};

/* The most processor time of another pool that reporters of this pool have shown, in usec. Each of
 * these reporters may write it. */
struct shown_time {
    _Atomic uint64_t pool; /* the other pool's serial */
    _Atomic int64_t user, system;
};

struct scoreboard {
    /* Set by the master if the pool may grow when another seat is taken; cleared by the worker that
     * wakes the master. */
    alignas(SCOREBOARD_LINE) _Atomic uint32_t armed;
    _Atomic uint32_t min_spare; /* this many free seats, and at least one, are enough; by the
                                   master */
    _Atomic uint32_t unserved;  /* set by a worker that was woken for a connection and can't accept;
                                   cleared by the master, which wakes another worker */
    _Atomic uint32_t end;       /* no slot from here on was ever taken; by the master */
    _Atomic uint32_t own_timeouts; /* set by the master before a reload gives the listeners the
                                      timeouts of another handler, or lends them: workers set each
                                      connection's, and accept4() may wait */
    uint64_t serial; /* as in the overview: for a debugger that finds only this memory */

    alignas(4096) struct shown_time shown[SCOREBOARD_POOLS]; /* by index in the overview */
    alignas(4096) struct slot slots[SCOREBOARD_SLOTS];
};

/* Creates a scoreboard, zeroed and sealed. Returns a close-on-exec descriptor that can be mapped
 * for writing, or -errno. Only root and the daemon's own user can open the memfd anew. */
int scoreboard_create(void);

/* Maps a scoreboard. NULL with errno set: EPROTO if the memory has another size, which would kill a
 * reader by SIGBUS. Children forked later don't inherit the mapping. */
struct scoreboard *scoreboard_map(int fd, bool writable);
void scoreboard_unmap(struct scoreboard *board);

/* A number that identifies the layout: two binaries that have the same can share a scoreboard. */
int64_t scoreboard_layout(void);

/* How many slots may ever have been taken: `end`, bounded. */
static inline uint32_t scoreboard_end(const struct scoreboard *board)
{
    uint32_t end = atomic_load_explicit(&board->end, memory_order_relaxed);
    return end < SCOREBOARD_SLOTS ? end : SCOREBOARD_SLOTS;
}

/* How many slots, this one included, serve the address of this slot's peer. Approximate, because
 * the workers go on. */
unsigned scoreboard_same_peer(const struct scoreboard *board, uint32_t number);

/* Whether at least `wanted` slots other than `own` are idle and not retiring. Stops when it has
 * found them, and looks at a single slot of a worker that counts its free seats. `own` belongs to
 * the worker whose first slot is `head`. */
bool scoreboard_has_idle(const struct scoreboard *board, uint32_t head, uint32_t own, int wanted);

/* A copy of a slot's counters. */
struct slot_counts {
    uint64_t accepted, served, errors, bytes_in, bytes_out;
    uint64_t refused[REFUSALS];
    uint64_t templates[TEMPLATE_COUNTS];
    struct histogram service, wait;
};
void slot_read(const struct slot *slot, struct slot_counts *counts);
void slot_counts_add(struct slot_counts *to, const struct slot_counts *from);

/* Whether the slot's workers, one after the other, can have counted so much in this time. This
 * detects a worker that writes nonsense, not one that lies within reason. */
bool slot_counts_possible(const struct slot_counts *counts, usec age);

/* The seats of one worker are consecutive slots. The thread or process that serves a seat's
 * connection writes its slot. The first slot is the worker's head: `ready`, `program`,
 * `failed_starts` and `reason` are used only there. A seat that its worker has not opened yet is
 * SLOT_FREE. What these functions read is the workers' word. */

/* What the seats do, and how many connections they accepted and served. */
struct seats_load {
    uint32_t busy;
    const struct slot *longest; /* the busy slot whose connection has lasted longest; NULL: none */
    usec since;                 /* when that connection began; or when the last one ended */
    uint64_t accepted, served;
};
void seats_look(const struct slot *first, uint32_t count, struct seats_load *load);

uint32_t seats_busy(const struct slot *first, uint32_t count);

/* Whether any seat is in this state, or in another one. */
bool seats_have(const struct slot *first, uint32_t count, enum slot_state state);
bool seats_have_other(const struct slot *first, uint32_t count, enum slot_state state);

/* Sums the counts of all seats. Leaves out slots with impossible counts, and then returns false. */
bool seats_read(const struct slot *first, uint32_t count, usec age, struct slot_counts *sum);

/* By the master: tells every seat to accept no further connection. */
void seats_retire(struct slot *first, uint32_t count);

/* By the master, while no worker lives: frees every slot. The counts stay. */
void seats_close(struct slot *first, uint32_t count);

#endif
