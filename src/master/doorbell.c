#include "doorbell.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

void doorbell_arm(struct scoreboard *board)
{
    if (!board)
        return;
    atomic_store_explicit(&board->armed, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* the other half stands in worker/bell */
}

void doorbell_disarm(struct scoreboard *board)
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

int doorbell_watch(struct doorbell *bell, struct loop *loop, struct listener *const *listeners,
                   int count, bool *changed)
{
    if (bell->watches)
        return 0;
    bell->watches = calloc((size_t)count, sizeof *bell->watches);
    if (!bell->watches)
        return -ENOMEM;
    bell->loop = loop;
    for (bell->count = 0; bell->count < count; bell->count++) {
        struct loop_watch *watch = &bell->watches[bell->count];
        *watch =
            (struct loop_watch){.fd = listeners[bell->count]->fd, .ready = wake, .owner = changed};
        int error = loop_add(loop, watch);
        if (error) {
            doorbell_unwatch(bell);
            return error;
        }
    }
    return 0;
}

void doorbell_unwatch(struct doorbell *bell)
{
    for (int i = 0; i < bell->count; i++)
        loop_remove(bell->loop, &bell->watches[i]);
    free(bell->watches);
    bell->watches = NULL;
    bell->count = 0;
}

bool doorbell_waiting(const struct doorbell *bell)
{
    for (int i = 0; i < bell->count; i++) {
        struct pollfd input = {.fd = bell->watches[i].fd, .events = POLLIN};
        if (poll(&input, 1, 0) == 1)
            return true;
    }
    return false;
}
