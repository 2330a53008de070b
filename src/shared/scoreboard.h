/*
 * scoreboard - shared memory through which workers tell the master what they do.
 *
 * Owns:      a memfd of fixed, sparse size: a header, the pools, the ledger of deaths, and a slot a
 *            worker. It never grows or moves; pages exist once touched. No pointers, one writer a
 *            field, but for the few words that say otherwise: so a worker that dies in the middle of
 *            a write spoils its own line at most.
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
#include "histogram.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SCOREBOARD_VERSION = 3,
    SCOREBOARD_SLOTS = 65536,
    SCOREBOARD_POOLS = 1024, /* those that are there and those whose last workers still finish */
    SCOREBOARD_LISTENERS = 4096, /* that reports name; a daemon may have more */
    SCOREBOARD_DEATHS = 64,      /* entries of the ledger */
    SCOREBOARD_SLOW = 64,        /* requests that are looked into at a time */
    SCOREBOARD_CHILDREN = 8,     /* of a process, that are told of there */
    SCOREBOARD_COMMAND = 16,     /* the kernel's name of a process */
    SCOREBOARD_RATES = 65536,    /* sources whose rate is known; a power of two */
    SCOREBOARD_NAME = 40,
    SCOREBOARD_REASON = 160,
    SCOREBOARD_ADDRESS = 128, /* printed; as addr has it */
    SCOREBOARD_LINE = 64,     /* bytes of a cache line */
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

/* Why a connection was closed unserved. */
enum refusal { REFUSED_DENIED, REFUSED_MAX_PER_SOURCE, REFUSED_RATE, REFUSED_PROXY, REFUSALS };
extern const char *const refusal_words[REFUSALS];

/* Who is served: an address without its length, so that a slot stays small. */
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
    _Atomic uint32_t ready;               /* whether it is, once in a life */
    _Atomic(pid_t) program;               /* the process group that it runs; 0 none */
    _Atomic uint64_t accepted;            /* connections taken */
    _Atomic uint64_t served;              /* connections done with */
    _Atomic int64_t since;                /* usec: when it became busy, or idle */
    _Atomic uint64_t bytes_in, bytes_out; /* of connections done with, where known */
    _Atomic uint64_t errors;              /* of accept(), transient ones */

    /* The same, of the connection in hand. */
    alignas(SCOREBOARD_LINE) struct slot_peer peer;
    _Atomic uint64_t source[2]; /* what max_per_source counts it under, and its limit */
    _Atomic uint64_t ticket;    /* its place among those of its source; these two: shared/sources */
    _Atomic uint32_t refused[REFUSALS];

    /* The same: what connections, or requests where a handler takes several on one, took from when
     * they were accepted to their end; and how long connections had waited until then. */
    alignas(SCOREBOARD_LINE) struct histogram service;
    struct histogram wait;

    /* Written by the master, but for the reason. */
    alignas(SCOREBOARD_LINE) _Atomic(pid_t) pid; /* 0: none lives */

    uint32_t pool;              /* index */
    uint32_t generation;        /* of the configuration under which the worker was forked */
    int64_t born;               /* usec */
    _Atomic uint32_t retiring;  /* told to finish: its seat is no free one */
    _Atomic uint32_t next_seat; /* the slot that comes after this one in the ring of its pool's
                                   slots; its own number where it is alone */
    uint32_t slow;              /* its entry among the slow, plus 1; 0: none */

    char reason[SCOREBOARD_REASON]; /* text, by a worker that can't start: why; of one that became a
                                       program, by the master: what that says of itself */
};

enum pool_state {
    POOL_STARTING,
    POOL_SERVING,
    POOL_DEGRADED, /* workers die early */
    POOL_FULL,     /* at max_workers, without a free seat: never written, readers see it for
                      themselves */
    POOL_DRAINED,
    POOL_REMOVED, /* no longer configured: its last workers finish */
    POOL_STATES,
};
extern const char *const pool_state_words[POOL_STATES];

/* A pool, for those who read the scoreboard and nothing else. Written by the master, but for the
 * last two lines. */
struct scoreboard_pool {
    char name[SCOREBOARD_NAME];
    char handler[16];
    uint32_t used;
    uint32_t state;                                         /* enum pool_state */
    uint32_t generation;                                    /* that in force */
    int32_t target;                                         /* workers that it should have now */
    int32_t min_workers, max_workers, min_spare, max_spare; /* of a fixed size: the first two are
                                                               it, the others 0 */
    int64_t state_since;                                    /* usec */
    char trouble[SCOREBOARD_REASON];                        /* why workers can't start; or empty */
    uint64_t retirements;                                   /* plain ends of workers */
    uint64_t deaths;                                        /* the others */
    int64_t cpu_user, cpu_system; /* usec: of the dead, with what they ran and waited for */

    /* What was counted in slots that it gave back. */
    uint64_t accepted, served, errors, refused[REFUSALS];
    uint64_t bytes_in, bytes_out;
    struct histogram service, wait;

    /* The bell: set by the master while a free seat less would let the pool grow, cleared by
     * whoever rings. */
    alignas(SCOREBOARD_LINE) _Atomic uint32_t armed;

    /* Taken by workers, one an accepted connection, where max_per_source is set. */
    alignas(SCOREBOARD_LINE) _Atomic uint64_t tickets;
};

/* A listening socket. Written by the master. */
struct scoreboard_listener {
    uint32_t used;
    uint32_t pool;  /* index */
    uint64_t inode; /* of the socket, as ss(8) and sock_diag(7) know it */
    int32_t backlog;
    char text[SCOREBOARD_ADDRESS];
};

/* Whose doing a death was. */
enum death_cause {
    DEATH_OWN,       /* nobody told it to */
    DEATH_RETIRED,   /* told to finish */
    DEATH_NOT_READY, /* killed by us: not ready within ready_timeout */
    DEATH_OVERDUE,   /* killed by us: not done within graceful_timeout */
    DEATH_STOPPED,   /* killed by us: stopped at once */
    DEATH_TIMEOUT,   /* ended by us: its request took more than request_timeout */
    DEATH_WATCHDOG,  /* killed by us: no longer said that it is alive */
    DEATH_CAUSES,
};
extern const char *const death_cause_words[DEATH_CAUSES];

/* An entry of the ledger: a worker's end that was no plain retirement. Written and read by the room
 * deaths. */
struct death {
    _Atomic uint64_t number; /* from 1 on; the entry of number n is n % SCOREBOARD_DEATHS */
    int64_t when;            /* usec since 1970 */
    char pool[SCOREBOARD_NAME];
    pid_t pid;
    uint32_t generation;
    int32_t status; /* as waitpid(2) tells it */
    int32_t cause;  /* enum death_cause */
    int64_t age;    /* usec */
    uint64_t served;
    int64_t cpu_user, cpu_system; /* usec */
    int64_t memory;               /* peak, bytes */
    uint32_t was_ready;
    uint32_t out_of_memory;       /* the kernel killed it for that */
    struct slot_peer peer;        /* in hand; family 0: none */
    char why[SCOREBOARD_REASON];  /* "killed by signal 11 (Segmentation fault)" */
    char core[SCOREBOARD_REASON]; /* "dumped", or why there is none; empty: not asked */
    char last[128];               /* line of standard error; empty: none */
};

/* The most processor time of a pool that a reporter has shown, usec. Written by reporters, any of
 * them. */
struct shown_time {
    _Atomic int64_t user, system;
};

/* A process, as /proc shows it. */
struct slow_process {
    pid_t pid;
    char command[SCOREBOARD_COMMAND];
    char state; /* a letter, as in proc(5) */
};

/* What was seen of a request that takes longer than slow_threshold, when it was last looked at.
 * Written by the master. */
struct slow {
    _Atomic uint64_t turn; /* odd: being written */
    uint32_t slot;         /* whose it is; it is over where that one's `slow` or `since` differs */
    int64_t since;         /* usec: when it began */
    int64_t sampled;       /* usec: when it was looked at */
    int32_t is_program;    /* of a program that the worker runs; else of the worker */
    struct slow_process process;
    int64_t cpu, wait; /* usec since it began: on a processor, and ready for one; -1 unknown */
    char channel[64];  /* where in the kernel it sleeps; empty: it doesn't, or it isn't known */
    char call[32];     /* the system call that it is in; the same */
    char hidden[96];   /* why one of the two isn't shown; empty: it is */
    int32_t child_count;
    struct slow_process children[SCOREBOARD_CHILDREN];
};

struct scoreboard {
    uint32_t version;
    uint32_t slot_size;
    _Atomic(pid_t) master;
    int64_t started;    /* usec; when the first master did */
    int64_t started_at; /* the same since 1970 */
    char release[16];   /* version of the master's program */
    uint32_t generation;
    uint32_t reloads, reloads_refused, upgrades;
    int64_t reloaded;                /* usec since 1970: the last one, done or refused; 0 none */
    char refusal[SCOREBOARD_REASON]; /* why, as a sentence; empty: it was done */
    _Atomic uint64_t deaths_written;

    /* Where the tables end for those who look through them: to read a page is to make it. */
    uint32_t pools_end, listeners_end;
    _Atomic uint32_t slots_end; /* no slot from here on was ever taken */
    uint64_t seed;              /* of the places in `rates`, so that nobody can aim at one */
    _Atomic uint32_t moves; /* odd: counts are on their way from a slot to its pool; see snapshot */
    alignas(4096) struct scoreboard_pool pools[SCOREBOARD_POOLS];
    alignas(4096) struct scoreboard_listener listeners[SCOREBOARD_LISTENERS];
    alignas(4096) struct death deaths[SCOREBOARD_DEATHS];
    alignas(4096) struct slow slow[SCOREBOARD_SLOW];
    alignas(4096) struct shown_time shown[SCOREBOARD_POOLS];
    alignas(4096) _Atomic uint64_t rates[SCOREBOARD_RATES]; /* see shared/sources */
    alignas(4096) struct slot slots[SCOREBOARD_SLOTS];
};

/* Makes and maps one. NULL with errno set. *fd is its descriptor, close-on-exec. */
struct scoreboard *scoreboard_open(int *fd);

/* Maps one that a master before made. NULL with errno set: EPROTO where it is not laid out as ours. */
struct scoreboard *scoreboard_adopt(int fd);
void scoreboard_close(struct scoreboard *board, int fd);

/* Makes a slot a pool's, zeroed. Which are free is for the caller to know, in memory of its own. */
struct slot *scoreboard_take(struct scoreboard *board, int slot, int pool);

/* Gives it back; what it counted stays with the pool. */
void scoreboard_give(struct scoreboard *board, int slot, int pool);

/* What moves counts stands between these two: who reads the whole meanwhile reads it again, or a sum
 * would go back for a moment. */
void scoreboard_begin_move(struct scoreboard *board);
void scoreboard_end_move(struct scoreboard *board);

/* A place for a pool of this name, or -1 where there is none left; and back. */
int scoreboard_add_pool(struct scoreboard *board, const char *name);
void scoreboard_remove_pool(struct scoreboard *board, int pool);

/* How many workers in the ring of this slot serve its peer's address, this one included. Nobody is
 * kept from changing meanwhile: it is what was to be seen in passing. */
unsigned scoreboard_same_peer(const struct slot *slots, uint32_t number);

/* Notes that a reload has ended. Refused: why; done: NULL. */
void scoreboard_note_reload(struct scoreboard *board, const char *refusal);

#endif
