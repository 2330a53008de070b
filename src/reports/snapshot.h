/*
 * snapshot - all pools and workers, read at one moment, counted and made safe to show; and the
 * health of a pool: whether a balancer should send it more connections.
 *
 * Owns:      the reading of the overview and all scoreboards as a whole: bounds, sums, the state of
 *            a pool. What counts as an ailment: workers that die early, a drain, no free seat for a
 *            second while connections wait. A pool that reports (status, agent) is busy because it
 *            is asked, which is no ailment.
 * Knows not: how it is shown.
 * Called by: master/export, status, metrics; the handlers status and agent.
 * Runs in:   any process that has the overview mapped, even if only for reading.
 *
 * Only the master can write to the overview, so its content is trusted. A scoreboard is not,
 * because any worker of its pool can write to all of it. A wrong number there is shown, but never
 * used as an index, and texts are terminated, valid UTF-8, and free of control characters.
 */
#ifndef PREFORKD_REPORTS_SNAPSHOT_H
#define PREFORKD_REPORTS_SNAPSHOT_H

#include "../base/addr.h"
#include "../base/text.h"
#include "../board/overview.h"
#include "../config/option.h"
#include "procstat.h"

#include <stdbool.h>
#include <string.h>

struct snapshot_worker {
    int number;              /* among all workers */
    uint32_t pool;           /* its place */
    const struct slot *slot; /* of its first seat; NULL: not available */
    uint32_t seats;
    uint32_t busy; /* seats with a connection */
    pid_t pid;     /* 0: it died, and is not replaced yet */
    pid_t program;
    uint32_t generation;
    enum slot_state state; /* never SLOT_FREE; SLOT_BUSY if at least one seat is busy */
    bool retiring;
    bool stuck;    /* killed, and does not end */
    uint32_t slow; /* the index of its slow entry, plus 1; 0: none */
    usec since;    /* of this state; if busy, of its oldest connection */
    usec born;
    uint64_t accepted, served;
    struct slot_peer peer; /* of its oldest connection; family 0: none */
};

/* Whether it has become a program, which accepts by itself. */
static inline bool snapshot_is_program(const struct snapshot_worker *worker)
{
    return worker->pid > 0 && worker->program == worker->pid;
}

struct snapshot_pool {
    bool used;
    uint64_t serial;
    char name[TEXT_CLEAN(SCOREBOARD_NAME)];
    char handler[TEXT_CLEAN(16)];
    char trouble[TEXT_CLEAN(SCOREBOARD_REASON)];
    enum pool_state state;
    usec state_since;
    usec busy_since; /* when the last worker became busy */
    uint32_t generation;
    int target, min_workers, max_workers, min_spare, max_spare;

    enum serve_model model;
    int seats_each; /* seats of one worker */

    /* Seats of its ready workers. */
    int seats, seats_busy;

    /* Workers, each counted once. Busy and idle workers are ready. */
    int starting, idle, busy;
    int retiring; /* or of an earlier generation */
    int waiting;  /* dead, to be respawned after a delay */

    int slow;           /* busy workers whose request exceeds slow_threshold */
    int failing;        /* ready workers that lately could not start their program */
    usec failing_since; /* the oldest last attempt among them */
    int queued;         /* connections waiting at its listeners; -1: unknown for all of them */

    struct slot_counts counts; /* of all workers, including dead ones */
    uint64_t retirements, deaths;

    /* Processor time of ended workers and of what they ran. */
    usec exited_user, exited_system;
    /* From procstat: processor time of all workers, and memory of living workers and the programs
     * that they run. `age` is that of the oldest reading; -1: not read, or partly hidden from
     * us. */
    usec cpu_user, cpu_system;
    int64_t memory;          /* bytes */
    int64_t template_memory; /* the templates' share of it */
    usec age;
};

struct snapshot {
    int count; /* places; some may be unused */
    struct snapshot_pool pools[];
};

/* Takes a snapshot, with the processes' times and memory if `procstat` is not NULL. From malloc();
 * NULL: no memory. */
struct snapshot *snapshot_take(const struct view *view, const struct procstat *procstat);

/* Reads a worker. False if there is none with this number. */
bool snapshot_worker(const struct view *view, int number, struct snapshot_worker *worker);
/* One more than the highest number of a worker. */
int snapshot_workers(const struct overview *overview);

/* The status text that a program reported, if the worker became one; otherwise NULL. */
const char *snapshot_status(const struct snapshot_worker *worker,
                            char text[static TEXT_CLEAN(SCOREBOARD_REASON)]);

/* How many listeners there may be; and the cleaned text of one, NULL if there is none. */
int snapshot_listeners(const struct overview *overview);
const char *snapshot_listener(const struct overview *overview, int number,
                              char text[static TEXT_CLEAN(SCOREBOARD_ADDRESS)]);

/* Reads what is known about a worker's slow request. False if its request is not slow, or was not
 * sampled. */
bool snapshot_slow(const struct overview *overview, const struct snapshot_worker *worker,
                   struct slow *slow);

/* The word for a state letter of proc(5), such as "sleeping"; NULL for an unknown letter. */
const char *snapshot_process_state(char letter);

/* Writes a peer: "192.0.2.7:4711", "[::1]:80", "unix,uid=1000"; empty if there is none. */
const char *snapshot_peer(const struct slot_peer *peer, char text[static ADDR_TEXT]);

static inline int snapshot_ready(const struct snapshot_pool *pool)
{
    return pool->busy + pool->idle;
}

static inline int snapshot_free_seats(const struct snapshot_pool *pool)
{
    return pool->seats - pool->seats_busy;
}

/* How many seats the pool may have at most. */
static inline int snapshot_most_seats(const struct snapshot_pool *pool)
{
    return pool->max_workers * pool->seats_each;
}

/* The time since then; 0 if `since` makes no sense, because a hostile worker wrote it. */
static inline usec snapshot_span(usec since, usec now)
{
    return since > 0 && since < now ? now - since : 0;
}

/* Whether its programs accept by themselves: their connections are not counted. */
static inline bool snapshot_is_app(const struct snapshot_pool *pool)
{
    return strcmp(pool->handler, "app") == 0;
}

/* Whether the pool's size follows the load. */
static inline bool snapshot_is_dynamic(const struct snapshot_pool *pool)
{
    return pool->min_workers != pool->max_workers;
}

/* Whether the pool has used templates. */
static inline bool snapshot_has_templates(const struct snapshot_pool *pool)
{
    uint64_t sum = (uint64_t)pool->template_memory;
    for (int i = 0; i < TEMPLATE_COUNTS; i++)
        sum |= pool->counts.templates[i];
    return sum > 0;
}

enum ailment {
    AILS_NOTHING,
    AILS_MAYBE_FULL,
    AILS_FULL,
    AILS_DRAINED,
    AILS_UNREACHABLE,
    AILS_DEGRADED,
    AILMENTS
};
extern const char *const ailment_words[AILMENTS];

/* What a caller keeps about pools between two calls of health_of. Initialise it to zero. */
struct health {
    usec full_since[SCOREBOARD_POOLS]; /* 0: was not full at the last call */
};

/* What ails the pool at this place. AILS_MAYBE_FULL: full, but not yet for a second; ask again. */
enum ailment health_of(struct health *health, int place, const struct snapshot_pool *pool,
                       usec now);

/* Whether the pool serves anything but the daemon's own reports. */
bool health_serves(const struct snapshot_pool *pool);

#endif
