/*
 * snapshot - the pools and their workers at one look, counted and made safe to show.
 *
 * Owns:      the reading of the overview and all scoreboards as a whole: bounds, sums, which state
 *            a pool is in.
 * Knows not: how it is shown.
 * Called by: master/export, status.
 * Runs in:   any process that has the overview mapped, be it for reading alone.
 *
 * The overview is the master's word. Nothing of a scoreboard is trusted, since any worker of its
 * pool can write all of it: its numbers may be wrong, but they lead nowhere, and texts are ended,
 * UTF-8, and without controls.
 */
#ifndef PREFORKD_REPORTS_SNAPSHOT_H
#define PREFORKD_REPORTS_SNAPSHOT_H

#include "../base/addr.h"
#include "../base/text.h"
#include "../board/overview.h"
#include "../config/option.h"
#include "procstat.h"

#include <stdbool.h>

struct snapshot_worker {
    int number;              /* among all workers */
    uint32_t pool;           /* its place */
    const struct slot *slot; /* what it shows in its first seat; NULL: that can't be had */
    uint32_t seats;          /* that it has */
    uint32_t busy;           /* of these: with a connection */
    pid_t pid;               /* 0: died, and is not replaced yet */
    pid_t program;
    uint32_t generation;
    enum slot_state state; /* but never SLOT_FREE; busy: at least one seat is */
    bool retiring;         /* told to finish */
    uint32_t slow;         /* its entry among the slow, plus 1; 0: none */
    usec since;            /* in this state; busy: of the connection that lasts longest */
    usec born;
    uint64_t accepted, served;
    struct slot_peer peer; /* of that connection; family 0: none */
};

struct snapshot_pool {
    bool used;
    uint64_t serial;
    char name[TEXT_CLEAN(SCOREBOARD_NAME)];
    char handler[TEXT_CLEAN(16)];
    char trouble[TEXT_CLEAN(SCOREBOARD_REASON)];
    enum pool_state state;
    usec state_since, busy_since; /* the latter: of the last that became busy */
    uint32_t generation;
    int target, min_workers, max_workers, min_spare, max_spare;

    enum serve_model model;
    int seats_each; /* of one worker */

    /* The seats of its ready workers: each has room for a connection. */
    int seats, seats_busy;

    /* Workers, each counted once. Ready are the busy and the idle ones. */
    int starting, idle, busy;
    int retiring; /* told to finish, or of an earlier generation */
    int waiting;  /* dead ones, to be replaced after a delay */

    int slow;           /* of the busy: their request takes longer than slow_threshold */
    int failing;        /* of the ready: they can't start the program that they run, lately */
    usec failing_since; /* the one that has tried least lately */
    int queued;         /* connections that wait at its listeners; -1: of none it is known */

    struct slot_counts counts; /* of all workers, the dead ones' too */
    uint64_t retirements, deaths;

    /* Processor time of workers that ended, and of what they ran. */
    usec exited_user, exited_system;
    /* The same of all workers; the memory of the living, and of programs that they run: see
     * figures. Both as old as what was read longest ago; -1: not read, or not all of it is shown to
     * us. */
    usec cpu_user, cpu_system;
    int64_t memory;          /* bytes */
    int64_t template_memory; /* of it, that of templates */
    usec age;
};

struct snapshot {
    int count; /* places; not all of them used */
    struct snapshot_pool pools[];
};

/* Takes one, with what the figures tell of processes, if there are any; free() gives it back.
 * NULL: no memory. */
struct snapshot *snapshot_take(const struct view *view, const struct procstat *figures);

/* Reads a worker. False if there is none of this number. */
bool snapshot_worker(const struct view *view, int number, struct snapshot_worker *worker);
int snapshot_workers(const struct overview *overview); /* there is none from this number on */

/* What a worker that became a program says of itself; NULL: nothing, or it is none. */
const char *snapshot_status(const struct snapshot_worker *worker,
                            char text[static TEXT_CLEAN(SCOREBOARD_REASON)]);

/* How many listeners there may be; the one of a number, its text cleaned. NULL: none. */
int snapshot_listeners(const struct overview *overview);
const char *snapshot_listener(const struct overview *overview, int number,
                              char text[static TEXT_CLEAN(SCOREBOARD_ADDRESS)]);

/* What was seen of a worker's request, if it takes too long. False if it doesn't, or was not
 * looked at. */
bool snapshot_slow(const struct overview *overview, const struct snapshot_worker *worker,
                   struct slow *slow);

/* "sleeping", of the letter of proc(5); NULL if it is none. */
const char *snapshot_process_state(char letter);

/* Writes a peer: "192.0.2.7:4711", "[::1]:80", "unix,uid=1000"; empty if it is none. */
const char *snapshot_peer(const struct slot_peer *peer, char text[static ADDR_TEXT]);

static inline int snapshot_ready(const struct snapshot_pool *pool)
{
    return pool->busy + pool->idle;
}

static inline int snapshot_free_seats(const struct snapshot_pool *pool)
{
    return pool->seats - pool->seats_busy;
}

/* The most seats that it may have. */
static inline int snapshot_most_seats(const struct snapshot_pool *pool)
{
    return pool->max_workers * pool->seats_each;
}

/* How long it has been, whatever a hostile worker makes of `since`. */
static inline usec snapshot_span(usec since, usec now)
{
    return since > 0 && since < now ? now - since : 0;
}

/* Whether its size follows the load. */
static inline bool snapshot_is_dynamic(const struct snapshot_pool *pool)
{
    return pool->min_workers != pool->max_workers;
}

/* Whether templates have been at work in it. */
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

/* What is remembered of pools between two looks of one question; zeroed before the first. */
struct health {
    usec full_since[SCOREBOARD_POOLS]; /* 0: it was not full at the last look */
};

/* What ails the pool at this place. AILS_MAYBE_FULL: a second has not passed yet; ask again. */
enum ailment health_of(struct health *health, int place, const struct snapshot_pool *pool,
                       usec now);

/* Whether it serves anything but reports of the daemon. */
bool health_serves(const struct snapshot_pool *pool);

#endif
