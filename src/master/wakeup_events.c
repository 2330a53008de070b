#include "wakeup_events.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

void wakeup_events_arm(struct scoreboard *board)
{
    if (!board)
        return;
    atomic_store_explicit(&board->armed, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* the other half stands in worker/wakeup */
}

void wakeup_events_disarm(struct scoreboard *board)
{
    if (board && atomic_load_explicit(&board->armed, memory_order_relaxed))
        atomic_store_explicit(&board->armed, 0, memory_order_relaxed);
}

/* The pool looks for itself. */
static void wake(void *owner)
{
    bool *changed = owner;
    *changed = true;
}

int wakeup_events_watch(struct wakeup_events *wakeup, struct loop *loop,
                        struct listener *const *listeners, int count, bool *changed)
{
    if (wakeup->watches)
        return 0;
    wakeup->watches = calloc((size_t)count, sizeof *wakeup->watches);
    if (!wakeup->watches)
        return -ENOMEM;
    wakeup->loop = loop;
    for (wakeup->count = 0; wakeup->count < count; wakeup->count++) {
        struct loop_watch *watch = &wakeup->watches[wakeup->count];
        *watch = (struct loop_watch){
            .fd = listeners[wakeup->count]->fd, .ready = wake, .owner = changed};
        int error = loop_add(loop, watch);
        if (error) {
            wakeup_events_unwatch(wakeup);
            return error;
        }
    }
    return 0;
}

void wakeup_events_unwatch(struct wakeup_events *wakeup)
{
    for (int i = 0; i < wakeup->count; i++)
        loop_remove(wakeup->loop, &wakeup->watches[i]);
    free(wakeup->watches);
    wakeup->watches = NULL;
    wakeup->count = 0;
}

bool wakeup_events_waiting(const struct wakeup_events *wakeup)
{
    for (int i = 0; i < wakeup->count; i++) {
        struct pollfd input = {.fd = wakeup->watches[i].fd, .events = POLLIN};
        if (poll(&input, 1, 0) == 1)
            return true;
    }
    return false;
}
