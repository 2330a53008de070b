/*
 * overview - what the master tells all reporters: the pools, their workers and listeners, and the
 * ledger of deaths.
 *
 * The overview is a memfd of fixed, sparse size. The master has the only writable mapping, and no
 * other can be made. So reporters can trust it, and it is small enough to be read without a lock.
 * What the workers are doing at the moment is in their pool's scoreboard.
 */
#ifndef PREFORKD_BOARD_OVERVIEW_H
#define PREFORKD_BOARD_OVERVIEW_H

#include "scoreboard.h"

#include <stdint.h>

enum {
    SCOREBOARD_LISTENERS = 4096, /* that reports show; a daemon may have more */
    SCOREBOARD_DEATHS = 64,      /* entries of the ledger */
    SCOREBOARD_SLOW = 64,        /* slow requests that are shown at a time */
    SCOREBOARD_CHILDREN = 8,     /* of a slow process that are shown */
    SCOREBOARD_COMMAND = 16,     /* a process's name, as the kernel has it */
    SCOREBOARD_ADDRESS = 128,    /* a printed address: ADDR_TEXT */
};

enum pool_state {
    POOL_STARTING,
    POOL_SERVING,
    POOL_DEGRADED,    /* workers die early */
    POOL_UNREACHABLE, /* clients can't connect to one of its listeners */
    POOL_FULL,        /* at max_workers, without a free seat; never stored: readers work it out */
    POOL_DRAINED,
    POOL_REMOVED, /* no longer configured: its last workers finish */
    POOL_STATES,
};
extern const char *const pool_state_words[POOL_STATES];

struct overview_pool {
    char name[SCOREBOARD_NAME];
    char handler[16];
    uint32_t used;
    uint64_t serial;                                        /* unique among all pools ever */
    uint32_t state;                                         /* enum pool_state */
    uint32_t generation;                                    /* that in force */
    int32_t target;                                         /* workers that it should have now */
    uint32_t model;                                         /* enum serve_model */
    uint32_t seats;                                         /* of one worker */
    int32_t min_workers, max_workers, min_spare, max_spare; /* with a fixed size, the first two are
                                                               that size, the others 0 */
    int64_t state_since;                                    /* usec */
    char trouble[SCOREBOARD_REASON];                        /* why workers can't start; or empty */
    uint64_t retirements;                                   /* expected ends of workers */
    uint64_t deaths;                                        /* unexpected ends */
    int64_t cpu_user, cpu_system; /* usec: of ended workers, and of the programs they reaped */

    /* The counts of slots that the pool gave back. */
    struct slot_counts counts;
};

/* A worker, by its number among all of the daemon's. */
struct overview_worker {
    _Atomic(pid_t) pid;     /* 0: no process */
    _Atomic uint32_t state; /* SLOT_FREE; SLOT_WAITING: it died; SLOT_STARTING: it lives, and its
                               slot has the state */
    _Atomic uint32_t retiring;
    _Atomic uint32_t stuck; /* killed, and does not end */
    uint32_t pool;          /* the pool's index */
    uint32_t seat;          /* the index of the worker's first slot in the scoreboard */
    uint32_t seats;         /* the number of its slots */
    uint32_t board;         /* the scoreboard's number, which a later scoreboard may get */
    uint64_t serial;        /* the scoreboard's serial, which no other scoreboard ever gets */
    uint32_t generation;    /* of the configuration under which it was forked */
    uint32_t slow;          /* the index of its entry in `slow`, plus 1; 0: none */
    int64_t born;           /* usec */
};

/* A listening socket. */
struct overview_listener {
    uint32_t used;
    uint32_t pool;  /* the pool's index */
    uint64_t inode; /* of the socket, as ss(8) and sock_diag(7) know it */
    int32_t backlog;
    uint32_t unreachable; /* the path is gone, or the socket was shut down */
    char text[SCOREBOARD_ADDRESS];
};

/* Why a worker died, as far as the master caused it. */
enum death_cause {
    DEATH_OWN,       /* by itself */
    DEATH_RETIRED,   /* told to finish */
    DEATH_NOT_READY, /* killed by us: not ready within ready_timeout */
    DEATH_OVERDUE,   /* killed by us: not done within graceful_timeout */
    DEATH_STOPPED,   /* killed by us: stopped at once */
    DEATH_TIMEOUT,   /* ended by us: its request took more than request_timeout */
    DEATH_WATCHDOG,  /* killed by us: stopped sending WATCHDOG=1 */
    DEATH_CAUSES,
};
extern const char *const death_cause_words[DEATH_CAUSES];

/* An entry of the ledger: a worker's unexpected end. */
struct death {
    _Atomic uint64_t number; /* from 1 on; the entry of number n is n % SCOREBOARD_DEATHS */
    int64_t when;            /* usec since 1970 */
    char pool[SCOREBOARD_NAME];
    pid_t pid;
    uint32_t generation;
    int32_t status;               /* as waitpid(2) returns it */
    int32_t cause;                /* enum death_cause */
    int64_t age;                  /* usec */
    int64_t served;               /* -1: unknown, it was a program that accepted by itself */
    int64_t cpu_user, cpu_system; /* usec */
    int64_t memory;               /* peak, bytes */
    uint32_t was_ready;
    uint32_t out_of_memory;       /* the kernel killed it to free memory */
    uint32_t in_hand;             /* connections */
    struct slot_peer peer;        /* of the connection, if it was the only one; family 0: none */
    char why[SCOREBOARD_REASON];  /* "killed by signal 11 (Segmentation fault)" */
    char core[SCOREBOARD_REASON]; /* "dumped", or why there is none; empty: not asked */
    char last[128];               /* the last line of standard error; empty: none */
};

/* A process as /proc shows it. */
struct slow_process {
    pid_t pid;
    char command[SCOREBOARD_COMMAND];
    char state; /* a letter, as in proc(5) */
};

/* The latest sample of a request that exceeds slow_threshold. The master writes it. */
struct slow {
    _Atomic uint64_t turn; /* odd: being written */
    uint32_t slot;         /* the worker's number; if that worker's `slow` or `since` differs, the
                              request is over */
    int64_t since;         /* usec: when the request began */
    int64_t sampled;       /* usec */
    int32_t is_program;    /* whether `process` is a program that the worker runs, or the worker */
    struct slow_process process;
    int64_t cpu, wait; /* usec since it began: running, and waiting for a processor; -1: unknown */
    char channel[64];  /* the kernel function in which it sleeps; empty: not asleep, or unknown */
    char call[32];     /* the system call that it is in; empty: none, or unknown */
    char hidden[96];   /* why one of the two isn't shown; empty: both are */
    int32_t child_count;
    struct slow_process children[SCOREBOARD_CHILDREN];
};

struct overview {
    _Atomic(pid_t) master;
    int64_t started;    /* usec: when the first master started */
    int64_t started_at; /* the same, since 1970 */
    char release[16];   /* version of the master's binary; empty until the overview is filled */
    char host[65];      /* the machine's name, as gethostname(2) returns it */
    uint32_t generation;
    uint32_t reloads, reloads_refused, upgrades;
    int64_t reloaded;                /* usec since 1970: the last reload, done or failed; 0: none */
    char refusal[SCOREBOARD_REASON]; /* why the last reload failed; empty: it is done */
    _Atomic uint64_t deaths_written;
    uint64_t serials; /* the last serial given to a pool or a scoreboard */
    /* Another binary has taken over, and writes to an overview of its own. */
    _Atomic uint32_t handed_on;

    /* The used parts of the tables. Readers stop there, because reading a page allocates it. */
    uint32_t pools_end, listeners_end;
    _Atomic uint32_t workers_end;
    _Atomic uint32_t moves; /* odd: counts are being moved from a slot to its pool; see snapshot */
    alignas(4096) struct overview_pool pools[SCOREBOARD_POOLS];
    alignas(4096) struct overview_listener listeners[SCOREBOARD_LISTENERS];
    alignas(4096) struct death deaths[SCOREBOARD_DEATHS];
    alignas(4096) struct slow slow[SCOREBOARD_SLOW];
    alignas(4096) struct overview_worker workers[SCOREBOARD_SLOTS];
};

/* Creates and maps an overview, for its only writer. *reader is a close-on-exec descriptor by which
 * others can map it read-only. NULL with errno set. */
struct overview *overview_open(int *reader);
void overview_close(struct overview *overview, int reader);

/* Maps an overview read-only. NULL with errno set. */
const struct overview *overview_map(int reader);
void overview_unmap(const struct overview *overview);

/* Counts are moved between these two calls. A reader that reads meanwhile reads again; otherwise a
 * sum might shrink for a moment. */
void overview_begin_move(struct overview *overview);
void overview_end_move(struct overview *overview);

/* Adds a pool of this name. Returns its index, or -1 if the table is full. */
int overview_add_pool(struct overview *overview, const char *name);
void overview_remove_pool(struct overview *overview, int pool);

/* Notes that a reload has ended: refused for this reason, or done if it is NULL. */
void overview_note_reload(struct overview *overview, const char *refusal);

/* The ledger is a ring with one writer, the master, and readers that take no lock. The number of an
 * entry is 0 while it is written. So a reader that finds the same number before and after has read
 * the whole entry. */

/* Writes the next entry over the oldest one, and numbers it. */
void deaths_write(struct overview *overview, const struct death *facts);

/* Copies the complete entries, the oldest first. Returns how many. */
int deaths_list(const struct overview *overview, struct death list[static SCOREBOARD_DEATHS]);

/* A reader's access: the overview, and the scoreboards that it names. */
struct view {
    const struct overview *overview;
    /* The scoreboard of this number and serial, mapped at least for reading; NULL: not available
     * now. */
    const struct scoreboard *(*board)(void *owner, uint32_t number, uint64_t serial);
    void *owner;
};

/* The worker's first slot, followed by those of its other seats; NULL: not available now. */
const struct slot *view_slot(const struct view *view, const struct overview_worker *worker);

/* A reporter asks the master for a scoreboard, and gets this answer with its descriptor. */
struct board_question {
    uint32_t number; /* or BOARD_OVERVIEW, for the overview itself */
};

#define BOARD_OVERVIEW UINT32_MAX

struct board_answer {
    uint32_t number;
    uint64_t serial; /* of the scoreboard that has the number now; 0: none, and no descriptor. With
                        BOARD_OVERVIEW: overview_layout(), and no descriptor until it is filled */
};

/* Differs between binaries that can't read each other's overview and scoreboards. */
uint64_t overview_layout(void);

#endif
