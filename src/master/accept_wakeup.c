#include "accept_wakeup.h"

#include <poll.h>
#include <signal.h>

/* From one look to the next, while a connection waits. Where all are busy it waits for good reason:
 * five looks a second cost nothing beside what they serve. */
#define LOOK_FIRST (USEC_SECOND / 100)
#define LOOK_MOST  (USEC_SECOND / 5)

/* One that was shut down is readable for ever, and nobody can accept from it. */
static bool someone_waits(const struct pool *pool)
{
    for (int i = 0; i < pool->listener_count; i++) {
        struct pollfd input = {.fd = pool->listeners[i]->fd, .events = POLLIN};
        if (poll(&input, 1, 0) == 1 && input.revents == POLLIN)
            return true;
    }
    return false;
}

/* One that is not ready yet, or not born, will look for itself before it waits. */
static bool goes_on(const struct worker *worker)
{
    return spawn_is_ready(worker) && worker->role != ROLE_RETIRING && !spawn_becomes(worker);
}

/* In turn, since one that says that it is idle may be stopped, or unable to accept. */
static struct worker *next_idle(const struct pool *pool, uint32_t last)
{
    struct worker *lowest = NULL, *next = NULL;
    for (struct worker *w = pool->ring.first; w; w = w->next) {
        if (!goes_on(w) || spawn_is_busy(w))
            continue;
        if (!lowest || w->seat < lowest->seat)
            lowest = w;
        if (w->seat > last && (!next || w->seat < next->seat))
            next = w;
    }
    return next ? next : lowest;
}

static bool anyone_goes_on(const struct pool *pool)
{
    const struct worker *worker = pool->ring.first;
    while (worker && !goes_on(worker))
        worker = worker->next;
    return worker;
}

/* By a signal, for which nobody has to be trusted: it never blocks, there is nothing that workers could
 * share and spoil, it reaches those of every generation, and one in accept() as well as one in
 * epoll_wait(). To the thread that accepts: a module may have others. One that is not waiting by now
 * finds nothing; then the next look finds the connection still there, and another worker. */
static void wake(struct wakeups *wakeups, const struct worker *worker)
{
    tgkill(worker->pid, worker->pid, SIGURG);
    wakeups->last = worker->seat;
}

/* A worker may have said that it was woken, and can't accept. */
static void hear(struct pool *pool)
{
    for (struct board *board = pool->resources.boards; board; board = board->next)
        if (atomic_load_explicit(&board->map->unserved, memory_order_relaxed) &&
            atomic_exchange(&board->map->unserved, 0))
            pool->resources.wakeups.asked = true;
}

usec accept_wakeup_step(struct pool *pool, usec now)
{
    struct wakeups *wakeups = &pool->resources.wakeups;
    hear(pool);
    if (wakeups->asked) {
        wakeups->asked = false;
        wakeups->looking = true;
        wakeups->due = now;
        wakeups->pause = LOOK_FIRST / 2;
    }
    if (!wakeups->looking || now < wakeups->due)
        return wakeups->looking ? wakeups->due : USEC_NEVER;
    wakeups->looking = !pool->removed && anyone_goes_on(pool) && someone_waits(pool);
    if (!wakeups->looking)
        return USEC_NEVER;
    const struct worker *idle = next_idle(pool, wakeups->last);
    if (idle)
        wake(wakeups, idle);
    wakeups->pause = 2 * wakeups->pause < LOOK_MOST ? 2 * wakeups->pause : LOOK_MOST;
    wakeups->due = now + wakeups->pause;
    return wakeups->due;
}
