/*
 * load - a pool's size follows it: from what is counted to what has to be awaited.
 *
 * Owns:      the state of scale, the wakeup_events, and the words about a pool that is full.
 * Knows not: workers; it is told how many there are.
 * Called by: maintain.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_LOAD_H
#define PREFORKD_MASTER_LOAD_H

#include "../base/log.h"
#include "scale.h"
#include "wakeup_events.h"

struct load {
    struct scale scale;
    struct scale_orders orders; /* of the last step */
    struct wakeup_events wakeup_events;
    usec looked_at; /* blind: at the queue */
    struct log_rate full;
    bool said_full;
};

/* A pool at one look. */
struct load_scene {
    const struct pool_config *conf;
    struct scoreboard *board; /* of its generation */
    bool *changed;            /* set when it must be looked at */
    struct loop *loop;
    struct listener *const *listeners;
    int listener_count;
    bool blind; /* its workers are programs: who of them is idle, nobody knows */
    usec now;
};

/* Sets load->scale.goal, how many workers there should be; so many are ready, and of these idle. */
void load_step(struct load *load, const struct load_scene *scene, int ready, int idle);

/* After what that asked for was done: sees to it that the master is woken when the goal must change.
 * Returns when to look at the latest. */
usec load_await(struct load *load, const struct load_scene *scene);

/* Whether at a look after that too few seats are free, so that it is too late to be told. */
bool load_is_missed(const struct load *load, const struct load_scene *scene, int idle);

/* Its size follows no load any more, or not now. */
void load_stop(struct load *load, struct scoreboard *board);

#endif
