/*
 * overview - what the master tells all reporters: the pools, their workers, listeners and deaths.
 *
 * A memfd of fixed, sparse size. The master has the only writable mapping, and nobody can make
 * another. So what stands here is true, and small enough to be read without a lock. What workers do
 * at this moment is in their pool's scoreboard.
 */
#ifndef PREFORKD_BOARD_OVERVIEW_H
#define PREFORKD_BOARD_OVERVIEW_H

#include "scoreboard.h"

#include <stdint.h>

enum {
    SCOREBOARD_LISTENERS = 4096, /* that reports name; a daemon may have more */
    SCOREBOARD_DEATHS = 64,      /* entries of the ledger */
    SCOREBOARD_SLOW = 64,        /* requests that are looked into at a time */
    SCOREBOARD_CHILDREN = 8,     /* of a process, that are shown there */
    SCOREBOARD_COMMAND = 16,     /* the kernel's name of a process */
    SCOREBOARD_ADDRESS = 128,    /* printed; as addr has it */
};

enum pool_state {
    POOL_STARTING,
    POOL_SERVING,
    POOL_DEGRADED,    /* workers die early */
    POOL_UNREACHABLE, /* nobody can connect to one of its listeners */
    POOL_FULL,        /* at max_workers, without a free seat: never written, readers see it for
                      themselves */
    POOL_DRAINED,
    POOL_REMOVED, /* no longer configured: its last workers finish */
    POOL_STATES,
};
extern const char *const pool_state_words[POOL_STATES];

struct overview_pool {
    char name[SCOREBOARD_NAME];
    char handler[16];
    uint32_t used;
    uint64_t serial;                                        /* no other pool ever has it */
    uint32_t state;                                         /* enum pool_state */
    uint32_t generation;                                    /* that in force */
    int32_t target;                                         /* workers that it should have now */
    uint32_t model;                                         /* enum serve_model */
    uint32_t seats;                                         /* of one worker */
    int32_t min_workers, max_workers, min_spare, max_spare; /* of a fixed size: the first two are
                                                               it, the others 0 */
    int64_t state_since;                                    /* usec */
    char trouble[SCOREBOARD_REASON];                        /* why workers can't start; or empty */
    uint64_t retirements;                                   /* plain ends of workers */
    uint64_t deaths;                                        /* the others */
    int64_t cpu_user, cpu_system; /* usec: of the dead, with what they ran and waited for */

    /* What was counted in slots that it gave back. */
    struct slot_counts counts;
};

/* A worker, by its number among all of the daemon's. */
struct overview_worker {
    _Atomic(pid_t) pid;     /* 0: none lives */
    _Atomic uint32_t state; /* SLOT_FREE; SLOT_WAITING: it died; SLOT_STARTING: it is in its slot
                                what it does */
    _Atomic uint32_t retiring;
    uint32_t pool;       /* its place */
    uint32_t seat;       /* the first of its slots in its scoreboard, */
    uint32_t seats;      /* and how many they are */
    uint32_t board;      /* the scoreboard's number, */
    uint64_t serial;     /* which another one may get later, and this, which none gets again */
    uint32_t generation; /* of the configuration under which it was forked */
    uint32_t slow;       /* its entry among the slow, plus 1; 0: none */
    int64_t born;        /* usec */
};

/* A listening socket. */
struct overview_listener {
    uint32_t used;
    uint32_t pool;  /* index */
    uint64_t inode; /* of the socket, as ss(8) and sock_diag(7) know it */
    int32_t backlog;
    uint32_t unreachable; /* its path is gone, or it was shut down */
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
    DEATH_WATCHDOG,  /* killed by us: stopped sending WATCHDOG=1 */
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
    uint32_t in_hand;             /* connections; and */
    struct slot_peer peer;        /* of the only one; family 0: none */
    char why[SCOREBOARD_REASON];  /* "killed by signal 11 (Segmentation fault)" */
    char core[SCOREBOARD_REASON]; /* "dumped", or why there is none; empty: not asked */
    char last[128];               /* line of standard error; empty: none */
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

struct overview {
    _Atomic(pid_t) master;
    int64_t started;    /* usec; when the first master did */
    int64_t started_at; /* the same since 1970 */
    char release[16];   /* version of the master's binary; empty while all this is filled */
    char host[65];      /* the machine's name, as gethostname(2) has it */
    uint32_t generation;
    uint32_t reloads, reloads_refused, upgrades;
    int64_t reloaded;                /* usec since 1970: the last one, done or refused; 0 none */
    char refusal[SCOREBOARD_REASON]; /* why, as a sentence; empty: it was done */
    _Atomic uint64_t deaths_written;
    uint64_t serials; /* given to pools and scoreboards */

    /* Where the tables end for a reader that looks through them: to read a page is to make it. */
    uint32_t pools_end, listeners_end;
    _Atomic uint32_t workers_end;
    _Atomic uint32_t moves; /* odd: counts are on their way from a slot to its pool; see snapshot */
    alignas(4096) struct overview_pool pools[SCOREBOARD_POOLS];
    alignas(4096) struct overview_listener listeners[SCOREBOARD_LISTENERS];
    alignas(4096) struct death deaths[SCOREBOARD_DEATHS];
    alignas(4096) struct slow slow[SCOREBOARD_SLOW];
    alignas(4096) struct overview_worker workers[SCOREBOARD_SLOTS];
};

/* Makes and maps one, for its only writer. *reader is a descriptor by which others can map it for
 * reading, close-on-exec. NULL with errno set. */
struct overview *overview_open(int *reader);
void overview_close(struct overview *overview, int reader);

/* Maps it for reading. NULL with errno set. */
const struct overview *overview_map(int reader);

/* Counts are moved between these two: a reader that reads the whole meanwhile reads it again, or a
 * sum would go back for a moment. */
void overview_begin_move(struct overview *overview);
void overview_end_move(struct overview *overview);

/* A place for a pool of this name, or -1 if there is none left; and back. */
int overview_add_pool(struct overview *overview, const char *name);
void overview_remove_pool(struct overview *overview, int pool);

/* Notes that a reload has ended. Refused: why; done: NULL. */
void overview_note_reload(struct overview *overview, const char *refusal);

/* What a reader has: the overview, and a way to the scoreboards that it names. */
struct view {
    const struct overview *overview;
    /* The scoreboard of this number and serial, mapped at least for reading; NULL: not to be had
     * now. */
    const struct scoreboard *(*board)(void *owner, uint32_t number, uint64_t serial);
    void *owner;
};

/* The first slot of a worker that the overview names, and so many more as it has seats; NULL: not
 * to be had now. */
const struct slot *view_slot(const struct view *view, const struct overview_worker *worker);

struct board_question {
    uint32_t number;
};

struct board_answer {
    uint32_t number;
    uint64_t serial; /* of that which has the number now; 0: none has, and no descriptor comes */
};

#endif
