#include "accept_wakeup.h"

#include "../base/kernel.h"

#include <poll.h>
#include <signal.h>

/* From one look to the next, while a connection waits. If all workers are busy, it waits for good
 * reason: five looks a second cost nothing beside what they serve. */
#define LOOK_FIRST (USEC_SECOND / 100)
#define LOOK_MOST  (USEC_SECOND / 5)

/* A listener that was shut down is readable for ever, and nobody can accept from it. */
static bool someone_waits(const struct pool *pool)
{
    for (int i = 0; i < pool->listener_count; i++) {
        struct pollfd input = {.fd = pool->listeners[i]->fd, .events = POLLIN};
        if (poll(&input, 1, 0) == 1 && input.revents == POLLIN)
            return true;
    }
    return false;
}

/* Wakes a worker with a free seat; they take turns by their seats, since a worker that says that it
 * is idle may be stopped, or unable to accept. False if no worker goes on: one that is not ready
 * yet, or not forked, will look for itself before it waits.
 *
 * By a signal, which needs no worker to be trusted: it never blocks, there is nothing that workers
 * share and could spoil, it reaches those of every generation, and one in accept() as well as one
 * in epoll_wait(). To the thread that accepts: a module may have others. A worker that is not
 * waiting by now finds nothing; then the next look finds the connection still there, and another
 * worker. */
static bool wake_next(struct pool *pool)
{
    struct wakeups *wakeups = &pool->resources.wakeups;
    struct worker *lowest = NULL, *next = NULL;
    bool any = false;
    for (struct worker *w = pool->workers; w; w = w->next) {
        if (!spawn_is_ready(w) || w->role == ROLE_RETIRING || spawn_is_app(w))
            continue;
        any = true;
        if (!spawn_has_room(w))
            continue;
        if (!lowest || w->seat < lowest->seat)
            lowest = w;
        if (w->seat > wakeups->last && (!next || w->seat < next->seat))
            next = w;
    }
    next = next ? next : lowest;
    if (next) {
        kernel_tgkill(next->pid, next->pid, SIGURG);
        wakeups->last = next->seat;
    }
    return any;
}

usec accept_wakeup_step(struct pool *pool, usec now)
{
    struct wakeups *wakeups = &pool->resources.wakeups;
    /* A worker may have said that it was woken, and can't accept. */
    for (struct board *board = pool->resources.boards; board; board = board->next)
        if (atomic_load_explicit(&board->map->unserved, memory_order_relaxed) &&
            atomic_exchange(&board->map->unserved, 0))
            wakeups->asked = true;
    if (wakeups->asked) {
        wakeups->asked = false;
        wakeups->looking = true;
        wakeups->due = now;
        wakeups->pause = LOOK_FIRST / 2;
    }
    if (!wakeups->looking || now < wakeups->due)
        return wakeups->looking ? wakeups->due : USEC_NEVER;
    wakeups->looking = !pool->removed && someone_waits(pool) && wake_next(pool);
    if (!wakeups->looking)
        return USEC_NEVER;
    wakeups->pause = 2 * wakeups->pause < LOOK_MOST ? 2 * wakeups->pause : LOOK_MOST;
    wakeups->due = now + wakeups->pause;
    return wakeups->due;
}
