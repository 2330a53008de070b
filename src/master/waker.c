#include "waker.h"

#include "../shared/listener.h"
#include "spawn.h"

#include <poll.h>
#include <signal.h>

/* From one look to the next, while a connection waits. Where all are busy it waits for good reason:
 * five looks a second cost nothing beside what they serve. */
#define LOOK_FIRST (USEC_SECOND / 100)
#define LOOK_MOST  (USEC_SECOND / 5)

/* One that was shut down is readable for ever, and nobody can accept from it. */
static bool someone_waits(const struct waker_scene *scene)
{
    for (int i = 0; i < scene->listener_count; i++) {
        struct pollfd input = {.fd = scene->listeners[i]->fd, .events = POLLIN};
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
static struct worker *next_idle(const struct waker_scene *scene, unsigned last)
{
    struct worker *lowest = NULL, *next = NULL;
    for (struct worker *w = scene->first; w; w = w->next) {
        if (!goes_on(w) || spawn_is_busy(w))
            continue;
        if (!lowest || w->seat < lowest->seat)
            lowest = w;
        if (w->seat > last && (!next || w->seat < next->seat))
            next = w;
    }
    return next ? next : lowest;
}

static bool anyone_goes_on(const struct waker_scene *scene)
{
    const struct worker *worker = scene->first;
    while (worker && !goes_on(worker))
        worker = worker->next;
    return worker;
}

/* By a signal, for which nobody has to be trusted: it never blocks, there is nothing that workers could
 * share and spoil, it reaches those of every generation, and one in accept() as well as one in
 * epoll_wait(). To the thread that accepts: a module may have others. One that is not waiting by now
 * finds nothing; then the next look finds the connection still there, and another worker. */
static void wake(struct waker *waker, const struct worker *worker)
{
    tgkill(worker->pid, worker->pid, SIGURG);
    waker->last = worker->seat;
}

usec waker_step(struct waker *waker, const struct waker_scene *scene, usec now)
{
    if (waker->asked) {
        waker->asked = false;
        waker->looking = true;
        waker->due = now;
        waker->pause = LOOK_FIRST / 2;
    }
    if (!waker->looking || now < waker->due)
        return waker->looking ? waker->due : USEC_NEVER;
    waker->looking = anyone_goes_on(scene) && someone_waits(scene);
    if (!waker->looking)
        return USEC_NEVER;
    const struct worker *idle = next_idle(scene, waker->last);
    if (idle)
        wake(waker, idle);
    waker->pause = 2 * waker->pause < LOOK_MOST ? 2 * waker->pause : LOOK_MOST;
    waker->due = now + waker->pause;
    return waker->due;
}
