/*
 * waker - sees to it that a connection which waits while a worker is idle has one woken for it.
 *
 * A new connection wakes one worker. Where that one doesn't accept it, nobody else is woken: so
 * whatever keeps a worker from it (a death, a stop, want of descriptors) is a reason to look. The
 * argument stands in src/README.md.
 *
 * Owns:      when a pool's listeners are looked at next, and who was woken last.
 * Knows not: pools, or why it was asked.
 * Called by: keeper; whoever asks: spawn, master.
 * Runs in:   the master.
 */
#ifndef PREFORKD_MASTER_WAKER_H
#define PREFORKD_MASTER_WAKER_H

#include "../base/clock.h"

#include <stdbool.h>

struct listener;
struct worker;

struct waker {
    bool asked;   /* a wake-up may be lost: look in this round */
    bool looking; /* a connection waited at the last look: look again at `due` */
    usec due, pause;
    unsigned last; /* the seat of who was woken last: the next one's turn is next */
};

/* What a pool has to be looked at for. */
struct waker_scene {
    struct worker *first; /* its workers, by `next` */
    struct listener *const *listeners;
    int listener_count;
};

/* Looks, where it was asked or must look again. Returns when it must do so next. */
usec waker_step(struct waker *waker, const struct waker_scene *scene, usec now);

#endif
